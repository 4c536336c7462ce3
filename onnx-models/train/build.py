"""Trains every model, records its golden vectors and writes its folder. Run by scripts/models.

Arguments: names of models, or none for all.
"""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import bad
from check import MODELS, NAMES, check
from built import WIDEST, Built, accuracy
from card import PROFILE, RUNTIME, canonical, make_card, sha256
from packed import largest, pack
from runtime import run


def golden(path: Path, built: Built) -> tuple[dict, str, str]:
    """The golden document, the held-out accuracy, and a word on how the document compares with the one on disk."""
    held_out, labels = built.held_out()
    answer = run(path / "model.onnx", built.cases + held_out)
    assert answer["runtime"] == RUNTIME, answer["runtime"]
    outputs = answer["outputs"][: len(built.cases)]
    score = accuracy(answer["outputs"][len(built.cases) :], labels)
    cases = [{"inputs": i, "outputs": o} for i, o in zip(built.cases, outputs)]
    new = {"runtime": RUNTIME, "profile": PROFILE, "cases": cases}

    old = json.loads((path / "golden.json").read_bytes()) if (path / "golden.json").exists() else None
    if old == new:
        return new, score, "golden outputs bit-identical"
    if old is None or [c["inputs"] for c in old["cases"]] != built.cases or old["profile"] != PROFILE:
        return new, score, "golden outputs new"
    # The judge gives every machine the same bits: the file is another, or something is wrong.
    return new, score, "golden outputs REPLACED"


def write_golden(path: Path, document: dict) -> None:
    """One case per line, so that a change shows in a diff."""
    lines = ",\n".join(json.dumps(case, separators=(",", ":")) for case in document["cases"])
    head = {key: value for key, value in document.items() if key != "cases"}
    path.write_text(json.dumps(head)[:-1] + ', "cases": [\n' + lines + "\n]}\n")


def committed(path: Path) -> dict | None:
    """The card in the last commit."""
    done = subprocess.run(["git", "show", f"HEAD:./{path.name}/card.json"], cwd=MODELS, capture_output=True)
    return json.loads(done.stdout) if done.returncode == 0 else None


def write(built: Built) -> str:
    """Writes the model's folder and answers a line on how it compares with the committed one."""
    path = MODELS / built.name
    path.mkdir(exist_ok=True)
    (path / "model.onnx").write_bytes(built.file)
    document, score, vectors = golden(path, built)
    write_golden(path / "golden.json", document)

    probes = [document["cases"][i] for i in built.probes]
    hexed = [{side[:-1]: "0x" + pack(p[side]).hex() for side in ("inputs", "outputs")} for p in probes]
    details = canonical(built.details | {"probes": hexed, "heldOutAccuracy": score})
    (path / "details.json").write_bytes(details)

    max_input = largest(built.details["inputs"], built.rows, built.columns, built.width)
    max_output = largest(built.details["outputs"], built.rows, built.columns, WIDEST)
    card = make_card(f"{built.name}/v1", built.file, details, len(built.details["outputs"]), max_input, max_output)
    (path / "card.json").write_text(json.dumps(card, indent=2) + "\n")

    before = committed(path)
    if before is None:
        verdict = "not committed yet"
    elif before == card:
        verdict = "same SHA-256 and model id as committed"
    elif before["sha256"] == card["sha256"]:
        verdict = "same SHA-256; details or policy changed, so the model id did"
    else:
        verdict = f"SHA-256 CHANGED from {before['sha256']}: training or its pinned packages changed, or see README"
    return f"{built.name:10} {sha256(built.file)}  {len(built.file)} bytes  accuracy {score}\n{'':10} {verdict}; {vectors}"


if __name__ == "__main__":
    names = sys.argv[1:] or NAMES
    lines = [write(importlib.import_module(name).build()) for name in names] + bad.write(MODELS / "bad")
    for name in names:
        check(name)
    print("\n".join(lines))
