"""Builds ONNX graphs by hand: only what the model needs, nothing that changes from run to run."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

import net

OPSET = 17
IR_VERSION = 8


class Graph:
    """Collects nodes and initializers; `op` returns the name of a node's one output."""

    def __init__(self, name: str):
        self.name, self.nodes, self.constants = name, [], []

    def constant(self, name: str, values, dtype=np.float32) -> str:
        if any(constant.name == name for constant in self.constants):
            raise ValueError(f"{name} is there already")
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values, dtype=dtype), name))
        return name

    def op(self, kind: str, *inputs: str, to: str | None = None, to_type: int | None = None, **attributes) -> str:
        output = to or f"{kind.lower()}_{len(self.nodes)}"
        if to_type is not None:  # Cast's own attribute is called `to`, as is the name of the output here
            attributes["to"] = to_type
        self.nodes.append(helper.make_node(kind, list(inputs), [output], name=f"make_{output}", **attributes))
        return output

    def weights(self, name: str, layer) -> list[str]:
        """Constants for the weights and the bias of a layer of net.py, rounded to its grid."""
        return [self.constant(f"{name}.{part}", net.snap(p)) for part, p in zip(("weight", "bias"), layer.params)]

    def model(self, inputs, outputs) -> bytes:
        """Checks the graph and returns the file. Inputs and outputs: (name, TensorProto type, shape)."""
        graph = helper.make_graph(
            self.nodes,
            self.name,
            [helper.make_tensor_value_info(*i) for i in inputs],
            [helper.make_tensor_value_info(*o) for o in outputs],
            self.constants,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        model.producer_name = "oraculum"
        onnx.checker.check_model(model, full_check=True)
        return model.SerializeToString(deterministic=True)


FLOAT, INT64, UINT8 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.UINT8
