"""How far batch sizes, native ONNX Runtime and another implementation move the outputs from the judge's. Run by
scripts/models --drift. No answer depends on it, for a card of the exact lane takes the judge's own bytes only; it shows
whether a model is well conditioned.

Each line has the share of output elements that differ from the judge's, over all held-out rows and golden cases, the
largest absolute difference, and the largest in units of 0.00001 + 0.0001·|value|, which a card of the tolerance lane
would allow.
"""

import importlib
import json
import sys

import numpy as np
from onnx.reference import ReferenceEvaluator

from check import MODELS, NAMES
from runtime import array, run, tensor

LEVELS = ["disabled", "basic", "extended", "all"]


def rows(case: list[dict], start: int, end: int) -> list[dict]:
    return [tensor(t["name"], array(t)[start:end]) for t in case]


def in_batches(path, cases, size: int) -> list[list[dict]]:
    """The judge's outputs of whole cases that were run `size` rows at a time."""
    pieces = [[rows(case, i, i + size) for i in range(0, case[0]["shape"][0], size)] for case in cases]
    answers = iter(run(path, [piece for case in pieces for piece in case])["outputs"])
    joined = []
    for case in pieces:
        parts = [next(answers) for _ in case]
        names = [t["name"] for t in parts[0]]
        joined.append([tensor(n, np.concatenate([array(p[i]) for p in parts])) for i, n in enumerate(names)])
    return joined


def evaluator(path, cases) -> list[list[dict]]:
    """The same graph under onnx's reference evaluator (numpy): an implementation that shares no kernel."""
    graph = ReferenceEvaluator(str(path))
    with np.errstate(all="ignore"):  # its Sigmoid overflows in the branch that it does not take
        answers = [graph.run(None, {t["name"]: array(t) for t in case}) for case in cases]
    return [[tensor(n, np.asarray(v)) for n, v in zip(graph.output_names, values)] for values in answers]


def flat(outputs: list[list[dict]]) -> np.ndarray:
    return np.concatenate([array(t).ravel().astype(np.float64) for case in outputs for t in case])


def drift(name: str) -> None:
    path = MODELS / name / "model.onnx"
    golden = json.loads((MODELS / name / "golden.json").read_bytes())
    cases = [case["inputs"] for case in golden["cases"]] + importlib.import_module(name).held_out()[0]
    judged = run(path, cases)["outputs"]
    want = flat(judged)

    def report(what: str, outputs: list[list[dict]]) -> None:
        for ours, theirs in zip(outputs, judged, strict=True):
            for a, b in zip(ours, theirs, strict=True):
                assert (a["name"], a["shape"], a["datatype"]) == (b["name"], b["shape"], b["datatype"])
                assert a["datatype"] == "FP32" or a["data"] == b["data"], f"{name}, {what}: {a['name']} differs"
        got = flat(outputs)
        assert np.all(np.isfinite(got))
        apart = np.abs(got - want)
        units = np.max(apart / (0.00001 + 0.0001 * np.abs(want)))
        print(f"{name:8}  {what:24}  {np.mean(apart > 0):7.2%}  {np.max(apart):.1e}  {units:.4f}")

    for size in (1, 7):
        report(f"judge, batches of {size}", in_batches(path, cases, size))
    for level in LEVELS:
        report(f"native, level {level}", run(path, cases, level)["outputs"])
    report("onnx reference evaluator", evaluator(path, cases))


if __name__ == "__main__":
    print(f"{'model':8}  {'compared with the judge':24}   differ  abs      units")
    for name in sys.argv[1:] or NAMES:
        drift(name)
