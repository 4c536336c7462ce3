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


def run(model: Path, cases: list[list[dict]], optimization: str | None = None) -> dict:
    """What golden.mjs answers for these cases; raises RuntimeError with the runtime's message if it refuses.

    The canonical judge runs them, or native ONNX Runtime at a level of optimization.
    """
    engine = {"engine": "native", "optimization": optimization} if optimization else {"engine": "judge"}
    job = {"model": str(model), "cases": cases} | engine
    script = Path(__file__).with_name("golden.mjs")
    done = subprocess.run(["node", script], input=json.dumps(job), capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return json.loads(done.stdout)
