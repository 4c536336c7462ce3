"""Checks the committed models without training. Run by scripts/models --check.

Arguments: names of models, or none for all and for the files of bad/.
"""

import importlib
import json
import sys
from pathlib import Path

import bad
from built import accuracy
from card import EXACT, PROFILE, RUNTIME, canonical, model_id, sha256
from packed import pack, unpack
from runtime import run

MODELS = Path(__file__).resolve().parent.parent
NAMES = ["iris", "digits", "credit", "language"]


def expect(fact: bool, otherwise: str) -> None:
    if not fact:
        raise SystemExit(f"scripts/models: {otherwise}")


def check(name: str) -> str:
    """Everything that the files of a model's folder say about each other; answers a line, exits where one is wrong."""
    path = MODELS / name
    card = json.loads((path / "card.json").read_bytes())
    raw = (path / "details.json").read_bytes()
    details, golden = json.loads(raw), json.loads((path / "golden.json").read_bytes())

    expect(card["sha256"] == sha256((path / card["file"]).read_bytes()), f"{name}: the card names another file")
    expect(card["details"] == sha256(raw), f"{name}: the card names other details")
    expect(raw == canonical(details), f"{name}: details.json is not canonical")
    expect(card["modelId"] == model_id(card), f"{name}: the model id is not this card's")
    expect(card["profile"] == golden["profile"] == PROFILE, f"{name}: another profile")
    expect(card["agreement"] == [EXACT] * len(details["outputs"]), f"{name}: outputs that need not be exact")

    # Probes go back to tensors and must give the same bytes again: the encoding is canonical.
    sides = ("input", "output")
    cases = list(golden["cases"])
    for probe in details["probes"]:
        tensors = [
            unpack(bytes.fromhex(probe[side][2:]), [port["name"] for port in details[f"{side}s"]]) for side in sides
        ]
        expect([f"0x{pack(t).hex()}" for t in tensors] == [probe[side] for side in sides], f"{name}: probe not canonical")
        cases.append(dict(zip(("inputs", "outputs"), tensors)))

    held_out, labels = importlib.import_module(name).held_out()
    answer = run(path / card["file"], [case["inputs"] for case in cases] + held_out)
    expect(answer["runtime"] == RUNTIME == golden["runtime"], f"{name}: needs {RUNTIME}, found {answer['runtime']}")
    outputs = answer["outputs"][: len(cases)]
    others = [place for place, case in enumerate(cases) if case["outputs"] != outputs[place]]
    expect(not others, f"{name}: the judge gives other bits for golden cases (and probes after them) {others}")
    score = accuracy(answer["outputs"][len(cases) :], labels)
    expect(score == details["heldOutAccuracy"], f"{name}: held-out accuracy {score}, not {details['heldOutAccuracy']}")
    return (
        f"{name:8} ok  {len(golden['cases'])} golden cases and {len(details['probes'])} probes, equal to the "
        f"bit; accuracy {score} on {len(labels)} held-out rows; {card['modelId']}"
    )


def check_bad() -> str:
    """The files of bad/ are as built, and ONNX Runtime does with them what the README says: the judge, and native."""
    folder = MODELS / "bad"
    for name, make in bad.FILES.items():
        expect((folder / name).read_bytes() == make(), f"bad/{name}: not what bad.py builds")
    x = {"name": "x", "datatype": "FP32", "shape": [3, 1], "data": [0, -1, 1]}
    small = {"name": "small", "datatype": "INT8", "shape": [2, 3], "data": [-128, -1, 0, 1, 2, 127]}
    flag = {"name": "flag", "datatype": "BOOL", "shape": [2, 3], "data": [1, 0, 0, 1, 1, 0]}
    text = {"name": "text", "datatype": "BYTES", "shape": [2, 3], "data": ["", "a", "é", "日本", "\n", "b c"]}
    many = [x | {"shape": [2, 3], "data": [0, -1, 1.5, 2, 3, 4]}, small, flag, text]
    for level in (None, "basic"):
        for name in ("custom-op", "external", "not-onnx"):
            try:
                run(folder / f"{name}.onnx", [], level)
            except RuntimeError:
                continue
            expect(False, f"bad/{name}.onnx: the runtime loaded it from memory")
        values = {t["name"]: t["data"] for t in run(folder / "nan.onnx", [[x]], level)["outputs"][0]}
        wanted = {"reciprocal": ["Infinity", -1, 1], "logarithm": ["-Infinity", "NaN", 0]}
        expect(values == wanted, f"bad/nan.onnx: {values}")
        passed = run(folder / "no-batch.onnx", [many], level)["outputs"][0]
        expect(passed == [t | {"name": f"{t['name']}_out"} for t in many], f"bad/no-batch.onnx: {passed}")

    count = {"name": "count", "datatype": "INT64", "shape": [1], "data": [bad.SLOW_SECOND]}
    took = run(folder / "slow.onnx", [[count]], "basic")["milliseconds"]
    return f"bad/     ok  {len(bad.FILES)} files; slow.onnx took {took} ms natively for a count of {bad.SLOW_SECOND}"


if __name__ == "__main__":
    for name in sys.argv[1:] or NAMES:
        print(check(name))
    if not sys.argv[1:]:
        print(check_bad())
