"""Handwritten digits, 8x8: two convolutions and a dense layer."""

import numpy as np
from sklearn.datasets import load_digits

import net
from built import Built, batches, port
from graph import FLOAT, Graph
from runtime import tensor


def read():
    data = load_digits()
    return data.images.astype(np.float32)[:, None], data.target, *net.split(data.target, held_out=0.2, seed=2)


def held_out():
    x, labels, _, test = read()
    return [[tensor("image", x[test])]], labels[test]


def build() -> Built:
    x, labels, train, test = read()

    rng = np.random.default_rng(2)
    layers = [net.Conv3x3(rng, 1, 8), net.Relu(), net.Conv3x3(rng, 8, 16), net.Relu(), net.MaxPool2(), net.Flatten()]
    layers.append(net.Dense(rng, 16 * 4 * 4, 10))
    scaled = x[train].astype(np.float64) / 16
    net.fit(layers, scaled, labels[train], 10, seed=2, epochs=30, batch=32, rate=0.005, decay=0.02, smoothing=0.02)

    g = Graph("digits")
    h = g.op("Mul", "image", g.constant("scale", 1 / 16))
    for name, layer in (("first", layers[0]), ("second", layers[2])):
        h = g.op("Conv", h, *g.weights(name, layer), kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        h = g.op("Relu", h)
    h = g.op("MaxPool", h, kernel_shape=[2, 2], strides=[2, 2])
    h = g.op("Flatten", h, axis=1)
    h = g.op("Gemm", h, *g.weights("output", layers[6]))
    g.op("Softmax", h, axis=1, to="probabilities")
    file = g.model([("image", FLOAT, ["N", 1, 8, 8])], [("probabilities", FLOAT, ["N", 10])])

    rows = x[test]
    black, white = np.zeros((1, 8, 8), np.float32), np.full((1, 8, 8), 16, np.float32)
    board = (np.indices((1, 8, 8)).sum(axis=0) % 2 * 16).astype(np.float32)
    negative, bright = -rows[0], rows[1] * 20
    edges = np.stack([black, white, board, negative, bright])
    cases = batches({"image": rows}, [1] * 12 + [2, 4, 8, 16])
    cases += [[tensor("image", edge[None])] for edge in edges]
    cases += [[tensor("image", np.concatenate([edges, rows[:3]]))]]
    details = {
        "name": "digits",
        "task": "Which digit a handwritten 8x8 image shows; pixels from 0 (paper) to 16 (ink).",
        "inputs": [port("image", "FP32", [-1, 1, 8, 8])],
        "outputs": [port("probabilities", "FP32", [-1, 10])],
        "labels": [str(digit) for digit in range(10)],
        "rowsIndependent": True,
        "tokenizer": None,
        "licence": "model: MIT; data: CC BY 4.0 (UCI Machine Learning Repository), shipped by scikit-learn (BSD-3-Clause)",
        "provenance": "E. Alpaydin and C. Kaynak's Optical Recognition of Handwritten Digits, the part in scikit-learn's "
        f"load_digits; {len(train)} rows train, {len(test)} held out, each digit in proportion",
        "heldOutRows": len(test),
    }
    return Built("digits", file, details, cases, [0, 1, 2, 3, 12], held_out)
