"""Models that the judge is tested with. Most have no inputs: they make their own, over the whole range of a type.

    python build.py     with the packages of onnx-models/train/requirements.txt; writes the .onnx files beside it
"""

from pathlib import Path

import numpy as np
from onnx import TensorProto as T
from onnx import helper, numpy_helper

OPSET, ML_OPSET, IR_VERSION = 26, 5, 11
FOLDER = Path(__file__).parent


class Graph:
    """Nodes in a row; every method gives the name of a value."""

    def __init__(self):
        self.nodes, self.constants, self.inputs, self.outputs, self.count = [], [], [], [], 0

    def constant(self, values, dtype):
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(values, dtype), name))
        return name

    def __call__(self, op, *inputs, outputs=1, domain="", **attributes):
        names = [f"v{self.count + place}" for place in range(outputs)]
        self.count += outputs
        self.nodes.append(helper.make_node(op, inputs, names, domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def input(self, dtype, dims, name):
        self.inputs.append(helper.make_tensor_value_info(name, dtype, dims))
        return name

    def output(self, value, dtype, dims=None):
        """Marks a value as an output, by a name that says its place."""
        name = f"y{len(self.outputs)}"
        self.nodes.append(helper.make_node("Identity", [value], [name]))
        self.outputs.append(helper.make_tensor_value_info(name, dtype, dims))

    def range(self, start, end, step):
        return self("Range", *(self.constant(value, np.int64) for value in (start, end, step)))

    def bits(self, count, width, dtype):
        """Values of a float type over all its bits, evenly: NaNs, infinities, subnormals and zeros among them."""
        integer = {16: T.UINT16, 32: T.UINT32, 64: T.INT64}[width]
        if width == 64:
            # An odd step, so that mantissas differ in their low bits.
            steps = self("Mul", self.range(-count // 2, count // 2, 1), self.constant(2**64 // count - 12345, np.int64))
        else:
            steps = self.range(0, 2**width, 2**width // count + (width == 32))
        return self("BitCast", self("Cast", steps, to=integer), to=dtype)

    def waves(self, *dims, seed=0.0, dtype=T.FLOAT):
        """Values in -1..1 without a pattern that sums cancel in."""
        size = int(np.prod(dims))
        angle = self("Mul", self("Cast", self.range(1, size + 1, 1), to=T.FLOAT), self.constant(12.9898 + seed, np.float32))
        flat = self("Cast", self("Sin", angle), to=dtype)
        return self("Reshape", flat, self.constant(dims, np.int64))

    def subgraph(self, name, inputs, outputs):
        return helper.make_graph(self.nodes, name, inputs, outputs, self.constants)

    def write(self, name):
        graph = helper.make_graph(self.nodes, name, self.inputs, self.outputs, self.constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("ai.onnx.ml", ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="oraculum")
        (FOLDER / f"{name}.onnx").write_bytes(model.SerializeToString(deterministic=True))


UNARY = "Abs Acos Asin Asinh Atan Atanh Ceil Cos Cosh Erf Exp Floor Log Neg Reciprocal Round Sigmoid Sign Sin Sinh Sqrt Tan Tanh".split()


def functions(name, dtype, width, count, unary, binary):
    graph = Graph()
    x = graph.bits(count, width, dtype)
    for op in unary:
        graph.output(graph(op, x), dtype)
    # Each value with one of another size.
    y = graph("Gather", x, graph.range(count // 2 - 1, -count // 2 - 1, -1))
    for op in binary:
        graph.output(graph(op, x, y, **({"fmod": 1} if op == "Mod" else {})), dtype)
    graph.write(name)


def casts():
    graph = Graph()
    for width, dtype in ((16, T.FLOAT16), (16, T.BFLOAT16), (32, T.FLOAT), (64, T.DOUBLE)):
        # Conversions round many ways near small integers: the odd bits, and what is near them.
        near = graph("Cast", graph("Mul", graph.waves(512, seed=width), graph.constant(300, np.float32)), to=dtype)
        x = graph("Concat", graph.bits(1024, width, dtype), near, axis=0)
        for to in (T.INT8, T.INT16, T.INT32, T.INT64, T.UINT8, T.UINT16, T.UINT32, T.UINT64, T.BOOL):
            graph.output(graph("Cast", x, to=to), to)
        for to in {T.FLOAT16, T.BFLOAT16, T.FLOAT, T.DOUBLE} - {dtype}:
            graph.output(graph("Cast", x, to=to), to)
    graph.output(graph("Cast", graph.bits(512, 32, T.FLOAT), to=T.STRING), T.STRING)
    graph.write("casts")


def integers():
    graph = Graph()
    a = graph("Reshape", graph("Cast", graph.range(0, 4096, 1), to=T.UINT8), graph.constant([16, 256], np.int64))
    b = graph("Reshape", graph("Cast", graph.range(-8192, 0, 1), to=T.INT8), graph.constant([256, 32], np.int64))
    # Products of 255 and 127 overflow 16 bits when two are added.
    high = graph("Expand", graph.constant(255, np.uint8), graph.constant([16, 256], np.int64))
    low = graph("Expand", graph.constant(127, np.int8), graph.constant([256, 32], np.int64))
    for left, right in ((a, b), (high, low)):
        graph.output(graph("MatMulInteger", left, right), T.INT32)
    scale, zero = graph.constant(0.03, np.float32), graph.constant(7, np.uint8)
    wide, offset = graph.constant(9.7, np.float32), graph.constant(128, np.uint8)
    right, none = graph.constant(0.02, np.float32), graph.constant(0, np.int8)
    graph.output(graph("QLinearMatMul", a, scale, zero, b, right, none, wide, offset), T.UINT8)
    quantized = graph("DynamicQuantizeLinear", graph.waves(64, 64), outputs=3)
    graph.output(quantized[0], T.UINT8)
    graph.output(graph("DequantizeLinear", *quantized), T.FLOAT)
    image = graph("Reshape", a, graph.constant([1, 4, 32, 32], np.int64))
    kernel = graph("Reshape", graph("Slice", b, *(graph.constant(v, np.int64) for v in ([0], [9]))), graph.constant([8, 4, 3, 3], np.int64))
    graph.output(graph("ConvInteger", image, kernel, zero), T.INT32)
    ints = graph("Mul", graph.range(-500, 500, 1), graph.constant(2**54 + 12345, np.int64))
    graph.output(graph("Div", ints, graph.constant(7, np.int64)), T.INT64)
    graph.output(graph("Mod", ints, graph.constant(-7, np.int64)), T.INT64)
    graph.output(graph("BitShift", graph("Cast", ints, to=T.UINT64), graph.constant(3, np.uint64), direction="RIGHT"), T.UINT64)
    graph.write("integers")


def layers():
    graph = Graph()
    for dtype in (T.FLOAT, T.DOUBLE):
        graph.output(graph("MatMul", graph.waves(7, 1000, dtype=dtype), graph.waves(1000, 33, seed=1, dtype=dtype)), dtype)
        graph.output(graph("Softmax", graph.waves(9, 101, seed=2, dtype=dtype)), dtype)
        graph.output(graph("ReduceSum", graph.waves(50000, seed=3, dtype=dtype)), dtype)
    graph.output(graph("Gemm", graph.waves(5, 300), graph.waves(17, 300, seed=4), graph.waves(17, seed=5), alpha=0.7, beta=1.3, transB=1), T.FLOAT)
    image = graph.waves(1, 3, 40, 40, seed=6)
    conv = graph("Conv", image, graph.waves(16, 3, 5, 5, seed=7), graph.waves(16, seed=8), pads=[2, 2, 2, 2], strides=[2, 2])
    graph.output(conv, T.FLOAT)
    graph.output(graph("AveragePool", graph("MaxPool", conv, kernel_shape=[2, 2]), kernel_shape=[3, 3]), T.FLOAT)
    graph.output(graph("ConvTranspose", conv, graph.waves(16, 2, 3, 3, seed=9)), T.FLOAT)
    rows = graph.waves(12, 96, seed=10)
    weight, bias = graph.waves(96, seed=11), graph.waves(96, seed=12)
    graph.output(graph("LayerNormalization", rows, weight, bias), T.FLOAT)
    graph.output(graph("Gelu", rows), T.FLOAT)
    graph.output(graph("Resize", image, "", graph.constant([1, 1, 1.7, 0.6], np.float32), mode="cubic"), T.FLOAT)
    heads = graph.waves(1, 4, 24, 16, seed=13)
    graph.output(graph("Attention", heads, graph.waves(1, 4, 24, 16, seed=14), graph.waves(1, 4, 24, 16, seed=15)), T.FLOAT)
    graph.write("layers")


def recurrent():
    graph = Graph()
    steps = graph.waves(20, 2, 8)
    for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        weights = graph.waves(2, gates * 12, 8, seed=gates), graph.waves(2, gates * 12, 12, seed=gates + 0.5)
        values = graph(op, steps, *weights, outputs=3 if op == "LSTM" else 2, hidden_size=12, direction="bidirectional")
        for value in values:
            graph.output(value, T.FLOAT)
    graph.write("recurrent")


def control():
    """A loop over an input from outside, and a branch: values of graphs in graphs."""
    graph = Graph()
    x = graph.input(T.FLOAT, ["N"], "x")
    factor = graph("Add", graph("Abs", x), graph.constant(3.5, np.float32))
    constant = graph("Neg", graph.constant([0.25], np.float32))
    body = Graph()
    body.count = 1000
    state = body("Mul", body("Mul", factor, "state"), body("Sub", constant, "state"))
    body.nodes.append(helper.make_node("Identity", ["going"], ["still"]))
    value = lambda name, dtype, dims: helper.make_tensor_value_info(name, dtype, dims)
    loop = body.subgraph(
        "body",
        [value("step", T.INT64, []), value("going", T.BOOL, []), value("state", T.FLOAT, ["N"])],
        [value("still", T.BOOL, []), value(state, T.FLOAT, ["N"]), value(state, T.FLOAT, ["N"])],
    )
    turns, going = graph.constant(25, np.int64), graph.constant(True, np.bool_)
    last, scan = graph("Loop", turns, going, graph("Mul", x, constant), outputs=2, body=loop)
    branches = []
    for op in ("Exp", "Sin"):
        branch = Graph()
        branch.count = 2000
        branches.append(branch.subgraph(op, [], [value(branch(op, last), T.FLOAT, ["N"])]))
    positive = graph("Greater", graph("ReduceSum", x, keepdims=0), graph.constant(0, np.float32))
    chosen = graph("If", positive, then_branch=branches[0], else_branch=branches[1])
    graph.output(chosen, T.FLOAT, ["N"])
    graph.output(scan, T.FLOAT, [25, "N"])
    graph.write("control")


def strings():
    graph = Graph()
    words = graph.constant(["Äpfel und Birnen", "", "grüße, Welt", "ΑΒΓ δ", "x\ty", "日本語 テキスト", "naïve Café"], object)
    upper = graph("StringNormalizer", words, case_change_action="UPPER")
    graph.output(upper, T.STRING)
    graph.output(graph("StringConcat", words, upper), T.STRING)
    for value, dtype in zip(graph("StringSplit", words, delimiter=" ", outputs=2), (T.STRING, T.INT64)):
        graph.output(value, dtype)
    graph.output(graph("RegexFullMatch", words, pattern=".*[a-zä]+.*"), T.BOOL)
    labels = graph("LabelEncoder", words, domain="ai.onnx.ml", keys_strings=["", "x\ty"], values_floats=[0.5, -1.5], default_float=7.0)
    graph.output(labels, T.FLOAT)
    graph.output(graph("Unique", graph("Concat", words, upper, axis=0), sorted=1), T.STRING)
    graph.write("strings")


def nans():
    """Where the bits of a NaN, which machines choose, might become a number; only in `bitcast` they do."""
    made = []
    for _ in range(2):
        graph = Graph()
        infinity = graph.constant([np.inf, -np.inf, 1, 0], np.float32)
        made.append((graph, infinity, graph("Sub", infinity, infinity), graph("Mul", infinity, graph.constant(0, np.float32))))

    graph, infinity, nan, product = made[0]
    mixed = graph("Concat", nan, infinity, product, axis=0)
    graph.output(graph("Max", mixed, graph.constant(1, np.float32)), T.FLOAT)
    graph.output(graph("ArgMax", mixed), T.INT64)
    graph.output(graph("TopK", mixed, graph.constant([5], np.int64), outputs=2)[1], T.INT64)
    graph.output(graph("Cast", mixed, to=T.STRING), T.STRING)
    graph.output(graph("Cast", mixed, to=T.INT32), T.INT32)
    graph.write("nans")

    graph, infinity, nan, product = made[1]
    graph.output(graph("BitCast", nan, to=T.UINT32), T.UINT32)
    graph.output(graph("BitCast", graph("Neg", product), to=T.INT32), T.INT32)
    root = graph("Sqrt", graph("Cast", graph("Neg", infinity), to=T.DOUBLE))
    graph.output(graph("BitCast", root, to=T.UINT64), T.UINT64)
    graph.output(graph("BitCast", graph("Cast", nan, to=T.FLOAT16), to=T.UINT16), T.UINT16)
    graph.write("bitcast")


TYPES = "INT8 INT16 INT32 INT64 UINT8 UINT16 UINT32 UINT64 FLOAT16 BFLOAT16 FLOAT DOUBLE BOOL STRING".split()


def ports():
    graph = Graph()
    for place, name in enumerate(TYPES):
        dtype = getattr(T, name)
        graph.output(graph.input(dtype, ["N", 2], f"x{place}"), dtype, ["N", 2])
    graph.write("ports")


def limits():
    """Models that end at a limit, or fail, by their input."""
    graph = Graph()
    turns = graph.input(T.INT64, [], "turns")
    body = Graph()
    body.count = 1000
    body.nodes.append(helper.make_node("Identity", ["going"], ["still"]))
    value = lambda name, dtype: helper.make_tensor_value_info(name, dtype, [])
    state = body("Sin", "state")
    inputs = [value("step", T.INT64), value("going", T.BOOL), value("state", T.FLOAT)]
    loop = body.subgraph("body", inputs, [value("still", T.BOOL), value(state, T.FLOAT)])
    start = graph("Loop", turns, graph.constant(True, np.bool_), graph.constant(1, np.float32), body=loop)
    graph.output(start, T.FLOAT, [])
    graph.write("loop")

    graph = Graph()
    size = graph.input(T.INT64, [1], "size")
    graph.output(graph("ReduceSum", graph("ConstantOfShape", size), keepdims=0), T.FLOAT, [])
    graph.write("memory")

    graph = Graph()
    place = graph.input(T.INT64, [], "place")
    graph.output(graph("Gather", graph.constant([1, 2, 3], np.float32), place), T.FLOAT, [])
    graph.write("gather")


if __name__ == "__main__":
    functions("float16", T.FLOAT16, 16, 65536, ["Abs", "Neg", "Relu", "Sign"], ["Add", "Mul", "Sub", "Div", "Mod"])
    functions("float32", T.FLOAT, 32, 8192, UNARY + ["Softplus", "Mish", "Gelu"], ["Add", "Mul", "Sub", "Div", "Pow", "Mod", "Max", "Min"])
    functions("float64", T.DOUBLE, 64, 8192, "Abs Ceil Cos Exp Floor Log Neg Reciprocal Round Sigmoid Sin Sqrt Tanh".split(), ["Add", "Mul", "Sub", "Div", "Pow", "Mod", "Max", "Min"])
    casts()
    integers()
    layers()
    recurrent()
    control()
    strings()
    nans()
    ports()
    limits()
