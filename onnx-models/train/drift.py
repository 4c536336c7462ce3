"""How far the outputs move with the optimisation level, the batch size and the implementation. Run by
scripts/models --drift; the tolerances in the cards are chosen from what it prints.

Each figure is the largest over all held-out rows and golden cases, against the reference profile: the absolute
difference, and the same in tolerances (1 is the card's limit).
"""

import importlib
import json
import sys

import numpy as np
from onnx.reference import ReferenceEvaluator

from check import MODELS, NAMES
from runtime import array, excess, run, tensor

LEVELS = ["disabled", "basic", "extended", "all"]


def rows(case: list[dict], start: int, end: int) -> list[dict]:
    return [tensor(t["name"], array(t)[start:end]) for t in case]


def in_batches(path, cases, level: str, size: int) -> list[list[dict]]:
    """Outputs of whole cases that were run `size` rows at a time; 0 runs each case as it is."""
    if not size:
        return run(path, cases, level)["outputs"]
    pieces = [[rows(case, i, i + size) for i in range(0, case[0]["shape"][0], size)] for case in cases]
    answers = iter(run(path, [piece for case in pieces for piece in case], level)["outputs"])
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


def drift(name: str) -> None:
    path = MODELS / name / "model.onnx"
    agreement = json.loads((MODELS / name / "card.json").read_bytes())["agreement"]
    golden = json.loads((MODELS / name / "golden.json").read_bytes())
    cases = [case["inputs"] for case in golden["cases"]] + importlib.import_module(name).held_out()[0]
    reference = in_batches(path, cases, "basic", 0)

    def report(what: str, outputs) -> None:
        absolute = max(
            float(np.max(np.abs(array(a).astype(np.float64) - array(b))))
            for got, want in zip(outputs, reference)
            for a, b in zip(got, want)
        )
        assert np.isfinite(absolute)
        share = max(excess(got, want, agreement) for got, want in zip(outputs, reference))
        print(f"{name:8}  {what:28} {absolute:.1e}  {share:.4f}")

    for level in LEVELS:
        for size in (0, 1, 7):
            report(f"{level}, {f'batches of {size}' if size else 'as it is'}", in_batches(path, cases, level, size))
    report("onnx reference evaluator", evaluator(path, cases))


if __name__ == "__main__":
    print(f"{'model':8}  {'compared with the reference':28} {'abs':7}  tolerances")
    for name in sys.argv[1:] or NAMES:
        drift(name)
