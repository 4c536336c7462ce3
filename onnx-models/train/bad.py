"""Files that an engine must refuse, survive or carry through unchanged; for the tests of bad input."""

from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from card import sha256
from graph import FLOAT, IR_VERSION, INT64, OPSET
from pipeline import text

INT8, BOOL, STRING = TensorProto.INT8, TensorProto.BOOL, TensorProto.STRING


def model(name, nodes, inputs, outputs, constants=(), domains=(), sparse=(), ir=IR_VERSION, opset=OPSET) -> bytes:
    """Unlike graph.Graph, checks nothing: some of these files are meant to be wrong."""
    ports = [
        [port if not isinstance(port, tuple) else helper.make_tensor_value_info(*port) for port in side]
        for side in (inputs, outputs)
    ]
    graph = helper.make_graph(nodes, name, *ports, list(constants), sparse_initializer=list(sparse))
    opsets = [helper.make_opsetid("", opset)] + [helper.make_opsetid(domain, 1) for domain in domains]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=ir)
    made.producer_name = "oraculum"
    return made.SerializeToString(deterministic=True)


X, Y = ("x", FLOAT, ["N", 1]), ("y", FLOAT, ["N", 1])


def external(name="external", location="external.bin") -> bytes:
    """An initializer whose bytes lie in external.bin, which exists: only a loader that was told of it is right to read it."""
    bias = TensorProto(name="bias", data_type=FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    for key, value in (("location", location), ("offset", "0"), ("length", "4")):
        bias.external_data.add(key=key, value=value)
    return model(name, [helper.make_node("Add", ["x", "bias"], ["y"])], [X], [Y], [bias])


def escaping() -> bytes:
    """The same, with a path out of the model's folder to a file that exists."""
    return external("escaping", "../iris/model.onnx")


def custom_op() -> bytes:
    node = helper.make_node("Oracle", ["x"], ["y"], domain="com.example")
    return model("custom-op", [node], [X], [Y], domains=["com.example"])


def random() -> bytes:
    nodes = [helper.make_node("RandomNormal", [], ["noise"], shape=[1]), helper.make_node("Add", ["x", "noise"], ["y"])]
    return model("random", nodes, [X], [Y])


def nan() -> bytes:
    """reciprocal = 1/x is infinite at 0; logarithm is -infinity at 0 and NaN below."""
    nodes = [helper.make_node("Reciprocal", ["x"], ["reciprocal"]), helper.make_node("Log", ["x"], ["logarithm"])]
    return model("nan", nodes, [X], [("reciprocal", FLOAT, ["N", 1]), ("logarithm", FLOAT, ["N", 1])])


SLOW_SECOND = 3000  # the count that takes slow.onnx about a second on one core


def slow() -> bytes:
    """`count` times x = tanh(x a) with 256 x 256 matrices: time grows with the input, in steps of about a millisecond."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["more"], ["still_more"]),
            helper.make_node("MatMul", ["state", "matrix"], ["product"]),
            helper.make_node("Tanh", ["product"], ["next_state"]),
        ],
        "step",
        [
            helper.make_tensor_value_info("i", INT64, []),
            helper.make_tensor_value_info("more", BOOL, []),
            helper.make_tensor_value_info("state", FLOAT, [256, 256]),
        ],
        [
            helper.make_tensor_value_info("still_more", BOOL, []),
            helper.make_tensor_value_info("next_state", FLOAT, [256, 256]),
        ],
    )
    half = numpy_helper.from_array(np.array([1 / 64], np.float32))
    nodes = [
        helper.make_node("ConstantOfShape", ["size"], ["matrix"], value=half),
        helper.make_node("Loop", ["count", "always", "matrix"], ["last"], body=body),
        helper.make_node("ReduceMean", ["last"], ["mean"], keepdims=0),
        helper.make_node("Reshape", ["mean", "one"], ["y"]),
    ]
    constants = [
        numpy_helper.from_array(np.array([256, 256], np.int64), "size"),
        numpy_helper.from_array(np.array(True), "always"),
        numpy_helper.from_array(np.array([1], np.int64), "one"),
    ]
    return model("slow", nodes, [("count", INT64, [1])], [("y", FLOAT, [1])], constants)


def sequence() -> bytes:
    """An input that no tensors stand for."""
    maps = helper.make_sequence_type_proto(helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, [])))
    xs = helper.make_value_info("xs", maps)
    return model("sequence", [helper.make_node("SequenceLength", ["xs"], ["y"])], [xs], [("y", INT64, [])])


def not_onnx() -> bytes:
    return bytes(np.random.default_rng(7).integers(0, 256, 256, dtype=np.uint8))


def no_batch() -> bytes:
    """A fixed shape, and four element types that pass through."""
    types = {"x": FLOAT, "small": INT8, "flag": BOOL, "text": STRING}
    nodes = [helper.make_node("Identity", [name], [f"{name}_out"]) for name in types]
    return model(
        "no-batch",
        nodes,
        [(name, kind, [2, 3]) for name, kind in types.items()],
        [(f"{name}_out", kind, [2, 3]) for name, kind in types.items()],
    )


def zipmap() -> bytes:
    """As skl2onnx exports a classifier by default: the label, and a sequence of maps. Only the label is a tensor."""
    classifier = helper.make_node(
        "LinearClassifier", ["x"], ["label", "scores"], domain="ai.onnx.ml", coefficients=[-1.0, 1.0],
        intercepts=[0.5, -0.5], classlabels_ints=[0, 1], multi_class=0, post_transform="SOFTMAX",
    )
    maps = helper.make_node("ZipMap", ["scores"], ["probabilities"], domain="ai.onnx.ml", classlabels_int64s=[0, 1])
    element = helper.make_map_type_proto(INT64, helper.make_tensor_type_proto(FLOAT, []))
    output = helper.make_value_info("probabilities", helper.make_sequence_type_proto(element))
    return model("zipmap", [classifier, maps], [X], [("label", INT64, ["N"]), output], domains=["ai.onnx.ml"])


def sparse_input() -> bytes:
    """y = x + [0, 2, 0]: a sparse initializer that is listed among the inputs, too, as initializers may be."""
    values = numpy_helper.from_array(np.array([2], np.float32), "w")
    indices = numpy_helper.from_array(np.array([1], np.int64), "w_indices")
    weight = helper.make_sparse_tensor(values, indices, [3])
    inputs = [("x", FLOAT, ["N", 3]), ("w", FLOAT, [3])]
    return model("sparse-input", [helper.make_node("Add", ["x", "w"], ["y"])], inputs, [("y", FLOAT, ["N", 3])], sparse=[weight])


def dropout() -> bytes:
    """Three times a Dropout that never drops: its training input is false, as an initializer or a Constant."""
    off = helper.make_node("Constant", [], ["off"], value=helper.make_tensor("off", BOOL, [], [False]))
    constants = [
        numpy_helper.from_array(np.array(0.5, np.float32), "ratio"),
        numpy_helper.from_array(np.array(False), "raw"),
        helper.make_tensor("typed", BOOL, [], [False]),
    ]
    nodes = [off] + [
        helper.make_node("Dropout", [x, "ratio", training], [y])
        for x, training, y in (("x", "raw", "a"), ("a", "typed", "b"), ("b", "off", "y"))
    ]
    return model("dropout", nodes, [X], [Y], constants)


def training() -> bytes:
    """A Dropout whose training input is true."""
    constants = [numpy_helper.from_array(np.array(0.5, np.float32), "ratio"), numpy_helper.from_array(np.array(True), "on")]
    return model("training", [helper.make_node("Dropout", ["x", "ratio", "on"], ["y"])], [X], [Y], constants)


IDENTITY = [helper.make_node("Identity", ["x"], ["y"])]

FILES = {
    "external.onnx": external,
    "external.bin": lambda: np.array([1], "<f4").tobytes(),
    "escaping.onnx": escaping,
    "custom-op.onnx": custom_op,
    "random.onnx": random,
    "nan.onnx": nan,
    "slow.onnx": slow,
    "sequence.onnx": sequence,
    "not-onnx.onnx": not_onnx,
    "zipmap.onnx": zipmap,
    "sparse-input.onnx": sparse_input,
    "dropout.onnx": dropout,
    "training.onnx": training,
    "newer-ir.onnx": lambda: model("newer-ir", IDENTITY, [X], [Y], ir=99),
    "newer-opset.onnx": lambda: model("newer-opset", IDENTITY, [X], [Y], opset=99),
    "no-outputs.onnx": lambda: model("no-outputs", IDENTITY, [X], []),
    "no-batch.onnx": no_batch,
    "text.onnx": text,
    "text-locale.onnx": lambda: text(None),
}


def write(folder: Path) -> list[str]:
    """Writes the files, and answers with a line for each that differs from what was there."""
    folder.mkdir(exist_ok=True)
    lines = []
    for name, make in FILES.items():
        file, path = make(), folder / name
        if not path.exists() or path.read_bytes() != file:
            lines.append(f"bad/{name}: new or changed, {sha256(file)}")
        path.write_bytes(file)
    return lines or [f"bad/: all {len(FILES)} files as before"]
