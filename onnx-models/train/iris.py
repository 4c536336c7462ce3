"""Iris species from four measurements: a multilayer perceptron, 4 -> 16 -> 3."""

import numpy as np
from sklearn.datasets import load_iris

import net
from built import Built, batches, port
from graph import FLOAT, Graph
from runtime import tensor


def read():
    data = load_iris()
    return data.data.astype(np.float32), data.target, *net.split(data.target, held_out=0.2, seed=1)


def held_out():
    x, labels, _, test = read()
    return [[tensor("features", x[test])]], labels[test]


def build() -> Built:
    x, labels, train, test = read()
    mean = net.snap(x[train].mean(axis=0))
    scale = net.snap(1 / x[train].std(axis=0))

    rng = np.random.default_rng(1)
    layers = [net.Dense(rng, 4, 16), net.Relu(), net.Dense(rng, 16, 3)]
    scaled = (x[train].astype(np.float64) - mean) * scale
    net.fit(layers, scaled, labels[train], 3, seed=1, epochs=150, batch=24, rate=0.01, decay=0.01)

    g = Graph("iris")
    h = g.op("Sub", "features", g.constant("mean", mean))
    h = g.op("Mul", h, g.constant("scale", scale))
    h = g.op("Gemm", h, *g.weights("hidden", layers[0]))
    h = g.op("Relu", h)
    h = g.op("Gemm", h, *g.weights("output", layers[2]))
    g.op("Softmax", h, axis=1, to="probabilities")
    file = g.model([("features", FLOAT, ["N", 4])], [("probabilities", FLOAT, ["N", 3])])

    rows = x[test]
    edges = np.array(
        [[0, 0, 0, 0], [100, 100, 100, 100], [-5, -5, -5, -5], [1e-30, 1e-30, 1e-30, 1e-30], [5.8, 3, 4.35, 1.3]],
        np.float32,
    )
    cases = batches({"features": rows}, [1] * 10 + [2, 3, 5, 10])
    cases += [[tensor("features", edge[None])] for edge in edges]
    cases += [[tensor("features", rows)], [tensor("features", np.concatenate([edges, rows[:2]]))]]
    details = {
        "name": "iris",
        "task": "Which of three iris species a flower is, from its sepal and petal lengths and widths in centimetres.",
        "inputs": [port("features", "FP32", [-1, 4])],
        "outputs": [port("probabilities", "FP32", [-1, 3])],
        "columns": {"features": ["sepal length (cm)", "sepal width (cm)", "petal length (cm)", "petal width (cm)"]},
        "labels": [str(name) for name in load_iris().target_names],
        "rowsIndependent": True,
        "tokenizer": None,
        "licence": "model: MIT; data: CC BY 4.0 (UCI Machine Learning Repository), shipped by scikit-learn (BSD-3-Clause)",
        "provenance": "R. A. Fisher's Iris data of 1936 as in scikit-learn's load_iris; "
        "120 rows train, 30 held out, each species equally",
        "heldOutRows": len(test),
    }
    return Built("iris", file, details, cases, [0, 1, 2, 3, 11], held_out)
