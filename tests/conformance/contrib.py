"""Cases of ONNX Runtime's own operators, which no suite has: one node each, on inputs that are drawn once.

What the product is to give is what the binding gives; that it gives the same twice, in two sessions, is checked here.
"""

import numpy as np
import onnx
import onnxruntime
import suite
from onnx import helper

DRAWN = np.random.default_rng(7)
ONE, ZERO8 = np.float32(0.05), np.uint8(128)


def f(*shape) -> np.ndarray:
    return DRAWN.normal(size=shape).astype(np.float32)


def u8(*shape) -> np.ndarray:
    return DRAWN.integers(0, 256, shape, dtype=np.uint8)


def i8(*shape) -> np.ndarray:
    return DRAWN.integers(-127, 128, shape, dtype=np.int8)


def ints(values, dtype=np.int64) -> np.ndarray:
    return np.array(values, dtype)


QUANTIZED = [u8(2, 3, 4, 4), ONE, ZERO8]
# Operator: its inputs (None for one that is left out), and its attributes.
CASES = {
    "Attention": ([f(1, 4, 8), f(8, 24), f(24)], {"num_heads": 2}),
    "BiasGelu": ([f(2, 8), f(8)], {}),
    "CDist": ([f(3, 4), f(5, 4)], {"metric": "euclidean"}),
    "ConvTransposeWithDynamicPads": ([f(1, 2, 4, 4), f(2, 3, 3, 3), ints([0, 0, 1, 1])], {"strides": [2, 2]}),
    "CropAndResize": ([f(1, 2, 6, 6), f(2, 4), ints([0, 0], np.int32), ints([3, 3], np.int32)], {}),
    "DequantizeLinear": ([u8(2, 3), ONE, ZERO8], {}),
    "DynamicQuantizeLSTM": (
        [f(3, 1, 4), i8(1, 4, 8), i8(1, 2, 8), None, None, None, None, None, ints([ONE], np.float32), ints([0], np.int8),
         ints([ONE], np.float32), ints([0], np.int8)],
        {"hidden_size": 2},
    ),
    "DynamicQuantizeMatMul": ([f(2, 8), i8(8, 4), ONE], {}),
    "DynamicTimeWarping": ([f(1, 3, 4)], {}),
    "EmbedLayerNormalization": (
        [ints([[1, 2, 3]], np.int32), ints([[0, 0, 1]], np.int32), f(5, 8), f(4, 8), f(2, 8), f(8), f(8)], {},
    ),
    "ExpandDims": ([f(2, 3), ints(1, np.int32)], {}),
    "FastGelu": ([f(2, 8), f(8)], {}),
    "FusedConv": ([f(1, 2, 5, 5), f(3, 2, 3, 3), f(3)], {"activation": "Relu"}),
    "FusedGemm": ([f(2, 3), f(3, 4), f(4)], {"activation": "Relu"}),
    "FusedMatMul": ([f(3, 2), f(3, 4)], {"transA": 1, "alpha": 0.5}),
    "GatherND": ([f(2, 3), ints([[0, 1], [1, 2]])], {}),
    "Gelu": ([f(2, 8)], {}),
    "GridSample": ([f(1, 2, 4, 4), f(1, 3, 3, 2)], {}),
    "GroupQueryAttention": (
        [f(1, 3, 16), f(1, 3, 8), f(1, 3, 8), None, None, ints([2], np.int32), ints(3, np.int32)],
        {"num_heads": 2, "kv_num_heads": 1},
    ),
    "Inverse": ([f(3, 3)], {}),
    "MatMulInteger16": ([ints([[1, -2]], np.int16), ints([[300], [5]], np.int16)], {}),
    "MatMulIntegerToFloat": ([u8(2, 8), u8(8, 4), ONE, ONE], {}),
    "MatMulNBits": ([f(2, 32), u8(4, 1, 16), f(4)], {"K": 32, "N": 4, "bits": 4, "block_size": 32}),
    "MaxpoolWithMask": ([f(1, 1, 4, 4), ints(np.ones((1, 1, 4, 4)), np.int32)], {"kernel_shape": [2, 2]}),
    "MoE": ([f(3, 8), f(3, 2), f(2, 16, 8), f(2, 16), f(2, 8, 16), f(2, 8)], {"k": 1, "activation_type": "relu"}),
    "MultiHeadAttention": ([f(1, 4, 8), f(1, 5, 8), f(1, 5, 8)], {"num_heads": 2}),
    "MurmurHash3": ([ints([1, 2, 3], np.int32)], {"seed": 7}),
    "NGramRepeatBlock": ([ints([[1, 2, 1]]), f(1, 4)], {"ngram_size": 2}),
    "NhwcMaxPool": ([u8(1, 4, 4, 2)], {"kernel_shape": [2, 2]}),
    "Pad": ([f(2, 3), ints([0, 1, 0, 1]), ints([0.5], np.float32)], {"mode": "constant"}),
    "QAttention": ([u8(1, 4, 8), i8(8, 24), f(24), ONE, ONE, None, ZERO8, np.int8(0)], {"num_heads": 2}),
    "QGemm": ([u8(2, 8), ONE, ZERO8, u8(8, 4), ONE, ZERO8, None, ONE, ZERO8], {}),
    "QEmbedLayerNormalization": (
        [ints([[1, 2, 3]], np.int32), ints([[0, 0, 1]], np.int32), u8(5, 8), u8(4, 8), u8(2, 8), u8(8), u8(8), None,
         *[ONE] * 5, *[ZERO8] * 5],
        {},
    ),
    "QLinearAdd": ([*QUANTIZED, *QUANTIZED, ONE, ZERO8], {}),
    "QLinearAveragePool": ([*QUANTIZED, ONE, ZERO8], {"kernel_shape": [2, 2]}),
    "QLinearConcat": ([ONE, ZERO8, u8(2, 3), ONE, ZERO8, u8(2, 2), ONE, ZERO8], {"axis": 1}),
    "QLinearConv": ([u8(1, 2, 4, 4), ONE, ZERO8, i8(3, 2, 3, 3), ONE, np.int8(0), ONE, ZERO8], {}),
    "QLinearGlobalAveragePool": ([*QUANTIZED, ONE, ZERO8], {}),
    "QLinearLeakyRelu": ([*QUANTIZED, ONE, ZERO8], {}),
    "QLinearMul": ([*QUANTIZED, *QUANTIZED, ONE, ZERO8], {}),
    "QLinearSigmoid": ([*QUANTIZED, ONE, ZERO8], {}),
    "QLinearSoftmax": ([*QUANTIZED, ONE, ZERO8], {"opset": 17}),
    "QLinearWhere": ([ints([True, False], np.bool_), u8(2), ONE, ZERO8, u8(2), ONE, ZERO8, ONE, ZERO8], {}),
    "QuantizeLinear": ([f(2, 3), ONE, ZERO8], {}),
    "QuickGelu": ([f(2, 8)], {}),
    "Range": ([np.float32(0), np.float32(3), np.float32(1)], {}),
    "RotaryEmbedding": ([f(1, 2, 4, 8), ints([0]), f(6, 4), f(6, 4)], {}),
    "SkipLayerNormalization": ([f(1, 2, 8), f(1, 2, 8), f(8), f(8)], {}),
    "SkipSimplifiedLayerNormalization": ([f(1, 2, 8), f(1, 2, 8), f(8)], {}),
    "Tokenizer": (
        [np.array(["Wo ist der Bahnhof?", "am Markt"], object)],
        {"mark": 0, "mincharnum": 1, "pad_value": "#", "tokenexp": "[a-zA-Z]+"},
    ),
    "TransposeMatMul": ([f(3, 2), f(3, 4)], {"transA": 1}),
    "Trilu": ([f(4, 4)], {"upper": 0}),
    "UnfoldTensor": ([f(2, 8)], {"dim": 1, "size": 4, "step": 2}),
    "WordConvEmbedding": ([ints([[1, 2, 3, 0]], np.int32), f(3, 1, 2, 4), f(3), f(5, 4)], {}),
    "Unique": ([ints([2, 1, 2, 3], np.float32)], {}),
}
OUTPUTS = {
    "EmbedLayerNormalization": 2, "QEmbedLayerNormalization": 2, "DynamicQuantizeLSTM": 3, "GroupQueryAttention": 3, "Unique": 3,
}
# Weights that the operator takes as constants only.
CONSTANT = {
    operator: slice(first, None)
    for operator, first in {
        "DynamicQuantizeLSTM": 1, "EmbedLayerNormalization": 2, "QAttention": 1, "QEmbedLayerNormalization": 2,
        "QLinearConv": 1, "QLinearSoftmax": 1,
    }.items()
}


def load() -> list[suite.Case]:
    return [case(operator, *parts) for operator, parts in CASES.items()]


def case(operator: str, values: list, attributes: dict) -> suite.Case:
    """A case, with what the binding gives as what is expected; none where it gives nothing."""
    named = [("" if value is None else f"x{index}", value) for index, value in enumerate(values)]
    named = [(name, value if value is None else np.asarray(value)) for name, value in named]
    constant = {name for name, _ in named[CONSTANT.get(operator, slice(0, 0))]}
    outputs = [f"y{index}" for index in range(OUTPUTS.get(operator, 1))]
    node = helper.make_node(operator, [name for name, _ in named], outputs, domain="com.microsoft", **attributes)
    given = [(name, value) for name, value in named if value is not None]
    ports = [port(name, value) for name, value in given if name not in constant]
    weights = [onnx.numpy_helper.from_array(value, name) for name, value in given if name in constant]

    def model(declared):
        graph = helper.make_graph([node], operator, ports, declared, weights)
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    made = suite.Case(f"contrib_{operator}", "contrib", model([onnx.ValueInfoProto(name=name) for name in outputs]))
    made.rtol = made.atol = 1e-6
    inputs = [value for name, value in given if name not in constant]
    first = run(made.model, made.inputs, inputs)
    if isinstance(first, str):
        raise SystemExit(f"{made.name}: {first}")
    again = run(made.model, made.inputs, inputs)
    assert all(np.array_equal(a, b) for a, b in zip(first, again)), f"{operator} gives two answers"
    made.model = model([port(name, value) for name, value in zip(outputs, first)])
    made.sets = [(inputs, first)]
    return made


def run(model: onnx.ModelProto, names: list[str], inputs: list) -> list | str:
    try:
        session = onnxruntime.InferenceSession(model.SerializeToString(), suite.options(), ["CPUExecutionProvider"])
        return session.run(None, dict(zip(names, inputs, strict=True)))
    except Exception as error:  # noqa: BLE001  the binding's own are many, and each is a reason
        return suite.one_line(error)


def port(name: str, value: np.ndarray) -> onnx.ValueInfoProto:
    text = value.dtype.kind in "OSU"
    kind = onnx.TensorProto.STRING if text else helper.np_dtype_to_tensor_dtype(value.dtype)
    return helper.make_tensor_value_info(name, kind, [None] * value.ndim)
