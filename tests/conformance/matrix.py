"""The judge's bits by host, the judge on the ONNX backend suite, and native runs of real models; ./scripts/matrix runs it."""

import argparse
import sys
import tempfile
import time
from pathlib import Path

import hosts
import numpy as np
import real
import run
import suite

SECTIONS = ("digests", "suite", "real")
# Cases of the suite that the judge has to pass.
SUITE = 1_450
# Families of real models that have to be there.
FAMILIES = 10
ATOL, RTOL = 1e-5, 1e-4


def row(*cells) -> None:
    """Prints a row of a table in Markdown."""
    print(f"| {' | '.join(map(str, cells))} |", flush=True)


def head(*cells: str) -> None:
    row(*cells)
    row(*["---"] * len(cells))


def digests(binary: str, folders: dict[str, tuple[str, list[str]]], everything: bool, every: int) -> list[str]:
    """Compares the hosts on the cases of each folder, emulated ones on one of `every` cases, and says what is wrong."""
    first, *others = hosts.hosts(binary)
    wrong = []
    head("host", "cases", "run", "equal", "differing", "left out", "s")
    for what, (folder, names) in folders.items():
        started = time.monotonic()
        lines = first.digests(folder, names)
        base = {name: line["digest"] for name, line in lines.items() if "digest" in line}
        left = f"{len(lines) - len(base)} that the judge refuses" if len(base) < len(lines) else ""
        row(first.name, what, len(base), "", "", left, round(time.monotonic() - started))
        for host in others:
            if host.missing:
                row(host.name, what, 0, "", "", host.missing, "")
                wrong += [f"{host.name}: {host.missing}"] if everything else []
                continue
            short = [name for name, digest in base.items() if digest["fuel"] <= host.longest]
            left = [f"{len(base) - len(short)} of over {host.longest:.0e} instructions"] if len(short) < len(base) else []
            chosen = short[::every] if host.emulated else short
            left += [f"{len(short) - len(chosen)} beside one of {every}"] if len(chosen) < len(short) else []
            started = time.monotonic()
            found = host.digests(folder, chosen)
            took = round(time.monotonic() - started)
            # Only wasmtime counts instructions; their number is the same, too.
            differing = [name for name in chosen if found[name].get("digest", {"": 0}).items() - base[name].items()]
            wrong += [f"{host.name}: {name} differs: {found[name]}" for name in differing]
            row(host.name, what, len(chosen), len(chosen) - len(differing), len(differing), "; ".join(left), took)
    print()
    return wrong


def judged(binary: str, cases: list[suite.Case]) -> list[str]:
    """Counts the cases that the judge passes, through the product, and lists those that it does not."""
    reasons = run.product([binary, "--judge"], cases)
    failed = {name: reason for name, reason in reasons.items() if reason}
    print(f"the judge passes {len(cases) - len(failed)} of the {len(cases)} cases that the binding passes; the others:")
    print("".join(f"  {name}: {reason}\n" for name, reason in sorted(failed.items())))
    passed = len(cases) - len(failed)
    return [f"the judge passes {passed} cases, and {SUITE} have to"] if passed < SUITE else []


def share(ours: np.ndarray, theirs: np.ndarray) -> float:
    """The largest difference of two outputs in tolerances; 0 where the bits are equal."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return np.inf
    if ours.dtype == object or ours.dtype.kind not in "f":
        return 0.0 if np.array_equal(ours, theirs) else np.inf
    if ours.tobytes() == theirs.tobytes():
        return 0.0
    a, b = ours.astype(np.float64), theirs.astype(np.float64)
    finite = np.isfinite(a) & np.isfinite(b)
    if not np.array_equal(a[~finite], b[~finite], equal_nan=True):
        return np.inf
    return float(np.max(np.abs(a - b)[finite] / (ATOL + RTOL * np.abs(b[finite])), initial=0))


def distance(ours: list, theirs: list) -> float:
    """The largest share over all outputs of all runs."""
    return max(share(a, b) for left, right in zip(ours, theirs, strict=True) for a, b in zip(left, right, strict=True))


def natively(binary: str, folder: str, models: list[tuple[real.Model, suite.Case]]) -> list[str]:
    """Compares native runs of real models with the binding's and with the judge's, and says what is wrong."""
    native, judge = suite.lines([binary, folder]), suite.lines([binary, "--judge", folder])
    wrong = []

    def outputs(line: dict, case: suite.Case) -> list | str:
        if "error" in line:
            return suite.one_line(line["error"])
        return [suite.outputs(answer, expected) for answer, (_, expected) in zip(line["outputs"], case.sets, strict=True)]

    head("family", "package", "native and binding", "native and judge", "binding, floats moved by a bit")
    for model, case in models:
        ours, theirs = outputs(native[case.name], case), outputs(judge[case.name], case)
        expected = [outputs for _, outputs in case.sets]
        if isinstance(ours, str):
            wrong.append(f"{model.family}: {ours}")
            row(model.family, model.package, ours, "", "")
            continue
        binding = distance(ours, expected)
        wrong += [f"{model.family}: native and binding differ by {binding:.2g} tolerances"] if binding > 1 else []
        to_judge = theirs if isinstance(theirs, str) else f"{distance(ours, theirs):.2g}"
        moved = max(distance(outputs, expected) for outputs in real.moved(case))
        row(model.family, model.package, f"{binding:.2g}" if binding else "equal bits", to_judge, f"{moved:.2g}")
    print()
    families = len({model.family for model, _ in models})
    return wrong + ([f"{families} families, and {FAMILIES} have to be there"] if families < FAMILIES else [])


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("binary")
    parser.add_argument("sections", nargs="*")
    parser.add_argument("--all", action="store_true")
    parser.add_argument("--every", type=int, default=1)
    arguments = parser.parse_args()
    sections = set(arguments.sections or SECTIONS)
    if unknown := sections.difference(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}: there are {', '.join(SECTIONS)}")
    cases, models, wrong = [], [], []
    if sections & {"digests", "suite"}:
        cases = [case for case in suite.load(set()) if case.tensors and not case.random and suite.binding(case) is None]
    if sections & {"digests", "real"}:
        models = [(model, real.case(place, model)) for place, model in enumerate(real.MODELS)]
    with tempfile.TemporaryDirectory(prefix="matrix-") as folder:
        folders = {}
        for what, written in {"the suite's": cases, "real models": [case for _, case in models]}.items():
            folders[what] = (f"{folder}/{len(folders)}", [case.name for case in written])
            for case in written:
                hosts.write(case, Path(folders[what][0]) / case.name)
        if "suite" in sections:
            wrong += judged(arguments.binary, cases)
        if "real" in sections:
            wrong += natively(arguments.binary, folders["real models"][0], models)
        if "digests" in sections:
            wrong += digests(arguments.binary, folders, arguments.all, arguments.every)
    for line in wrong:
        print(f"matrix: {line}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
