"""The ONNX backend suite, made by the package `onnx` at run time, and ONNX Runtime's Python binding on it."""

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper
from onnx.backend.test.loader import load_model_tests
from onnx.backend.test.runner import Runner

KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator", "real")
# Operators that draw random numbers: the product refuses them on purpose.
RANDOM = {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Multinomial", "Bernoulli"}
# What names of element types are in the Open Inference Protocol; bfloat16 travels as FP32, which holds it exactly.
DATATYPES = {
    "bool": "BOOL", "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64", "uint8": "UINT8",
    "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64", "float16": "FP16", "bfloat16": "FP32",
    "float32": "FP32", "float64": "FP64", "object": "BYTES",
}
DTYPES = {
    "BOOL": np.bool_, "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64, "UINT8": np.uint8,
    "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64, "FP16": np.float16, "FP32": np.float32,
    "FP64": np.float64, "BYTES": object,
}


@dataclass
class Case:
    name: str
    kind: str
    model: onnx.ModelProto
    # Pairs of inputs and expected outputs, each in the model's order.
    sets: list = field(default_factory=list)
    rtol: float = 1e-3
    atol: float = 1e-7

    @property
    def random(self) -> bool:
        """Whether the model draws random numbers."""
        return bool(operators(self.model.graph) & RANDOM) or trains(self.model)

    @property
    def tensors(self) -> bool:
        """Whether all inputs and outputs are tensors, rather than sequences or nothing."""
        return all(isinstance(value, np.ndarray) for pair in self.sets for side in pair for value in side)

    @property
    def inputs(self) -> list[str]:
        weights = {tensor.name for tensor in self.model.graph.initializer}
        return [port.name for port in self.model.graph.input if port.name not in weights]

    def differs(self, outputs: list, expected: list) -> str | None:
        """How outputs differ from what the suite expects, as its own runner judges it."""
        try:
            Runner.assert_similar_outputs(expected, outputs, self.rtol, self.atol)
        except (AssertionError, TypeError, AttributeError) as error:
            return one_line(error)
        return None


def one_line(error: object) -> str:
    return " ".join(str(error).split())[:300]


def operators(graph: onnx.GraphProto) -> set[str]:
    found = set()
    for node in graph.node:
        found.add(node.op_type)
        for attribute in node.attribute:
            for inner in [attribute.g, *attribute.graphs]:
                found |= operators(inner)
    return found


def trains(model: onnx.ModelProto) -> bool:
    """Whether a Dropout drops at random: its third input, since opset 12, says so, and the suite feeds it."""
    nodes = [node for node in model.graph.node if node.op_type == "Dropout"]
    return any(len(node.input) > 2 and node.input[2] for node in nodes)


def tensor(value):
    """A value of the suite as the binding takes it: protobuf tensors and numpy's scalars become arrays."""
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if isinstance(value, np.generic):
        return np.asarray(value)
    if isinstance(value, (list, tuple)):
        return [tensor(item) for item in value]
    return value


def load(names: set[str]) -> list[Case]:
    """The cases of every kind, or those named."""
    cases = []
    for kind in KINDS:
        for test in load_model_tests(kind=kind):
            if not names or test.name in names:
                case = from_memory(test) if test.model is not None else from_disk(test)
                if case is not None:
                    cases.append(case)
    return cases


def from_memory(test) -> Case:
    sets = [([tensor(x) for x in inputs], [tensor(y) for y in outputs]) for inputs, outputs in test.data_sets]
    return Case(test.name, test.kind, test.model, sets, test.rtol, test.atol)


def from_disk(test) -> Case | None:
    """A case whose files are in the package; None where they would have to be downloaded."""
    if test.model_dir is None:
        path = Path(onnx.__file__).parent / Path(test.url).relative_to("onnx")
        return light(test, path) if path.exists() else None
    folder = Path(test.model_dir)
    case = Case(test.name, test.kind, onnx.load(folder / "model.onnx"), [], test.rtol, test.atol)
    ports = {port.name: port.type for port in [*case.model.graph.input, *case.model.graph.output]}
    outputs = [port.name for port in case.model.graph.output]
    for data in sorted(folder.glob("test_data_set*")):
        if data.suffix == ".npz":
            archive = np.load(data, encoding="bytes", allow_pickle=True)
            case.sets.append((list(archive["inputs"]), list(archive["outputs"])))
            continue
        sides = [(case.inputs, "input"), (outputs, "output")]
        case.sets.append(tuple(
            [read(data / f"{side}_{i}.pb", ports[name]) for i, name in enumerate(names)] for names, side in sides
        ))
    return case


def light(test, path: Path) -> Case:
    """A large graph whose weights are made inside, with the input that the suite's runner makes for it."""
    case = Case(test.name, test.kind, onnx.load(path), [], test.rtol, test.atol)
    (port,) = [port for port in case.model.graph.input if port.name in case.inputs]
    ramp = Runner.generate_dummy_data(port, name=case.name)
    expected = onnx.TensorProto.FromString(path.with_name(f"{path.stem}_output_0.pb").read_bytes())
    case.sets.append(([ramp], [tensor(expected)]))
    return case


def read(path: Path, kind: onnx.TypeProto):
    data = path.read_bytes()
    match kind.WhichOneof("value"):
        case "sequence_type":
            return numpy_helper.to_list(onnx.SequenceProto.FromString(data))
        case "optional_type":
            return numpy_helper.to_optional(onnx.OptionalProto.FromString(data))
        case _:
            return numpy_helper.to_array(onnx.TensorProto.FromString(data))


def options() -> onnxruntime.SessionOptions:
    """The settings of the engine's sessions (relayer/src/engine/backends/ort/session.rs)."""
    made = onnxruntime.SessionOptions()
    made.intra_op_num_threads = made.inter_op_num_threads = 1
    made.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    made.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    made.use_deterministic_compute = True
    made.enable_mem_pattern = False
    made.log_severity_level = 4
    return made


def binding(case: Case) -> str | None:
    """What the binding makes of a case: None where it passes, or the reason."""
    try:
        session = onnxruntime.InferenceSession(case.model.SerializeToString(), options(), ["CPUExecutionProvider"])
        for inputs, expected in case.sets:
            outputs = session.run(None, dict(zip(case.inputs, inputs, strict=True)))
            if differs := case.differs(outputs, expected):
                return differs
    except Exception as error:  # noqa: BLE001  the binding's own are many, and each is a reason
        return one_line(error)
    return None


def request(case: Case, inputs: list) -> dict | str:
    """Inputs as an Open Inference Protocol request; or why none can say them."""
    tensors = []
    for name, value in zip(case.inputs, inputs, strict=True):
        if value is None:
            return f"input `{name}` is absent"
        named = [(name, value)] if isinstance(value, np.ndarray) else zip((name, f"{name}.shapes"), padded(value))
        for name, array in named:
            made = oip(name, array)
            if made is None:
                return f"input `{name}` is {array.dtype.name}"
            tensors.append(made)
    return {"inputs": tensors}


def oip(name: str, value: np.ndarray) -> dict | None:
    """An array as an Open Inference Protocol tensor; None where the protocol has no such type."""
    datatype = DATATYPES.get("object" if value.dtype.kind in "SUO" else value.dtype.name)
    if datatype is None:
        return None
    if value.dtype.name in ("bfloat16", "float16"):
        value = value.astype(np.float32)
    flat = [x.decode() if isinstance(x, bytes) else x for x in value.ravel().tolist()]
    return {"name": name, "shape": list(value.shape), "datatype": datatype, "data": flat}


def padded(elements: list) -> tuple[np.ndarray, np.ndarray]:
    """A sequence as the product takes it: its elements in the corners of equal slices, and the shape of each."""
    if not elements:
        return np.zeros(0, np.float32), np.zeros((0, 0), np.int64)
    shapes = np.array([element.shape for element in elements], np.int64).reshape(len(elements), -1)
    data = np.zeros((len(elements), *shapes.max(axis=0)), elements[0].dtype)
    for slot, element in zip(data, elements):
        slot[tuple(slice(size) for size in element.shape)] = element
    return data, shapes


def outputs(answer: list[dict], expected: list) -> list:
    """Outputs of the product as the suite has them; in bfloat16, which the product writes as FP32, where that is expected."""
    rest = iter(answer)
    found = []
    for like, output in zip(expected, rest):
        data = array(output)
        if isinstance(like, list):
            shapes = array(next(rest))
            found.append([slot[tuple(slice(size) for size in shape)] for slot, shape in zip(data, shapes)])
        elif like is not None and like.dtype.name == "bfloat16" and data.dtype == np.float32:
            found.append(data.astype(like.dtype))
        else:
            found.append(data)
    # Whatever is left is more than is expected.
    return found + list(rest)


def array(output: dict) -> np.ndarray:
    data = [float(x) if isinstance(x, str) and output["datatype"] != "BYTES" else x for x in output["data"]]
    return np.array(data, DTYPES[output["datatype"]]).reshape(output["shape"])


def write(case: Case, folder: Path) -> None:
    """Writes a case for the product: its model, and a request for each set of inputs, or why there can be none."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    requests = [request(case, inputs) for inputs, _ in case.sets]
    lines = [f"# {made}" if isinstance(made, str) else json.dumps(made) for made in requests]
    (folder / "requests").write_text("".join(f"{line}\n" for line in lines))


def lines(command: list[str]) -> dict[str, dict]:
    """The lines of JSON that a program prints, one for each case, by the cases' names."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return {line["case"]: line for line in map(json.loads, done.stdout.splitlines())}
