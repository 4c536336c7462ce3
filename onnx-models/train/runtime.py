"""Runs models through golden.mjs, and turns arrays into Open Inference Protocol tensors and back."""

import json
import subprocess
from pathlib import Path

import numpy as np

DATATYPES = {"float32": "FP32", "int64": "INT64", "uint8": "UINT8", "int8": "INT8", "bool": "BOOL"}
DTYPES = {name: np.dtype(dtype) for dtype, name in DATATYPES.items()}


def tensor(name: str, values: np.ndarray) -> dict:
    shape = list(values.shape)
    return {"name": name, "shape": shape, "datatype": DATATYPES[str(values.dtype)], "data": values.ravel().tolist()}


def array(tensor: dict) -> np.ndarray:
    return np.array(tensor["data"], DTYPES[tensor["datatype"]]).reshape(tensor["shape"])


def run(model: Path, cases: list[list[dict]], optimization: str = "basic") -> dict:
    """What golden.mjs answers for these cases; raises RuntimeError with the runtime's message if it refuses."""
    job = {"model": str(model), "optimization": optimization, "cases": cases}
    script = Path(__file__).with_name("golden.mjs")
    done = subprocess.run(["node", script], input=json.dumps(job), capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)


def excess(got: list[dict], want: list[dict], agreement: list[dict]) -> float:
    """The largest |got - want| / tolerance over all outputs; at most 1 means agreement."""
    worst = 0.0
    for g, w, rule in zip(got, want, agreement, strict=True):
        assert (g["name"], g["shape"], g["datatype"]) == (w["name"], w["shape"], w["datatype"])
        a, b = array(g), array(w)
        if rule["kind"] == "elementwise":
            allowed = float(rule["atol"]) + float(rule["rtol"]) * np.abs(b.astype(np.float64))
            worst = max(worst, float(np.max(np.abs(a.astype(np.float64) - b) / allowed)))
        elif rule["kind"] == "argmax":
            two = np.sort(b, axis=-1)[..., -2:]
            decided = two[..., 1] - two[..., 0] >= float(rule["gap"])
            worst = max(worst, 2.0 if np.any((a.argmax(-1) != b.argmax(-1)) & decided) else 0.0)
        else:
            worst = max(worst, 0.0 if np.array_equal(a, b) else 2.0)
    return worst
