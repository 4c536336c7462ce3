"""What every model file of this folder hands to build.py."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from runtime import array, tensor

ELEMENTWISE = {"kind": "elementwise", "atol": "0.00001", "rtol": "0.0001"}
ROWS = 64  # rows of the widest packed elements that a card's byte limits make room for


@dataclass
class Built:
    name: str
    file: bytes
    details: dict  # without probes and held-out accuracy, which need the runtime
    agreement: list[dict]
    cases: list[list[dict]]  # inputs of the golden cases
    probes: list[int]  # which of the cases are also probes
    held_out: Callable  # () -> (inputs with all held-out rows as one batch, what they should give)
    columns: int = 1  # stands for a dynamic dimension after the first in the byte limits


def accuracy(outputs: list[dict], labels: np.ndarray) -> str:
    """Share of rows answered right; with a single output column, at the threshold 1/2."""
    scores = array(outputs[0])
    answers = scores.argmax(axis=1) if scores.shape[1] > 1 else scores[:, 0] > 0.5
    return f"{np.mean(answers == labels):.4f}"


def port(name: str, datatype: str, shape: list[int]) -> dict:
    return {"name": name, "datatype": datatype, "shape": shape}


def batches(arrays: dict[str, np.ndarray], sizes: list[int]) -> list[list[dict]]:
    """Cuts rows, in order, into one golden case per size."""
    cases, at = [], 0
    for size in sizes:
        cases.append([tensor(name, values[at : at + size]) for name, values in arrays.items()])
        at += size
    assert all(at <= len(values) for values in arrays.values())
    return cases
