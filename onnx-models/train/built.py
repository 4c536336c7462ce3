"""What every model file of this folder hands to build.py."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from runtime import array, tensor

WIDEST = 16  # bytes of a u128 or i128 element: an on-chain caller may pass and ask for fixed point of that width


@dataclass
class Built:
    name: str
    file: bytes
    details: dict  # without probes and held-out accuracy, which need the runtime
    cases: list[list[dict]]  # inputs of the golden cases
    probes: list[int]  # which of the cases are also probes
    held_out: Callable  # () -> (all held-out rows in a few batches, what the rows should give)
    # The card's byte limits make room for that many rows, and columns where a dimension after the first is dynamic, of
    # input elements that wide.
    rows: int = 64
    columns: int = 1
    width: int = WIDEST


def accuracy(outputs: list[list[dict]], labels: np.ndarray) -> str:
    """Share of rows that the first output answers right: by its class, its highest score, or at the threshold 1/2."""
    answers = np.concatenate([array(first) for first, *_ in outputs])
    if answers.ndim == 2:
        answers = answers.argmax(axis=1) if answers.shape[1] > 1 else answers[:, 0] > 0.5
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
