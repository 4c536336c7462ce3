"""A sample of the ONNX backend suite in one file, for machines without Python; scripts/conformance --sample writes it.

A line for each case: its model in hex, an Open Inference Protocol request, the outputs that the suite expects, and how far
floats may be from them: |output - expected| <= atol + rtol * |expected|.
"""

import json
import sys
from collections import Counter
from pathlib import Path

import suite

FILE = Path(__file__).with_name("sample.jsonl")
# Operators whose kernels have most to choose from, and the cases of each; others have one.
WEIGHTY = {
    "Attention", "AveragePool", "BatchNormalization", "Conv", "ConvTranspose", "Einsum", "GRU", "Gather", "Gemm",
    "InstanceNormalization", "LSTM", "LayerNormalization", "MatMul", "MaxPool", "Pad", "RNN", "ReduceSum", "Resize",
    "ScatterND", "Softmax", "TopK",
}
MANY = 4
# Bytes of a line at most: numbers take room.
LONGEST = 6_000


def line(case: suite.Case) -> str | None:
    """A case as a line; None where it has no tensors that the protocol names, strings, or too many numbers."""
    inputs, expected = case.sets[0]
    request = suite.request(case, inputs)
    outputs = [suite.oip(port.name, value) for port, value in zip(case.model.graph.output, expected)
               if getattr(value, "dtype", None) is not None]
    if isinstance(request, str) or len(outputs) != len(case.model.graph.output) or None in outputs:
        return None
    tensors = [*request["inputs"], *outputs]
    if any(tensor["datatype"] == "BYTES" or tensor["name"].endswith(".shapes") for tensor in tensors):
        return None
    if any(value.dtype.name in ("float16", "bfloat16") for value in expected):
        return None
    model = case.model.SerializeToString().hex()
    made = {"case": case.name, "model": model, "request": request, "expected": outputs, "rtol": case.rtol, "atol": case.atol}
    written = json.dumps(made, separators=(",", ":"))
    # JSON has no such numbers.
    return written if len(written) <= LONGEST and "NaN" not in written and "Infinity" not in written else None


def main() -> int:
    lines, taken = [], Counter()
    for case in sorted(suite.load(set()), key=lambda case: case.name):
        operators = [node.op_type for node in case.model.graph.node]
        if case.kind != "node" or "_expanded" in case.name or len(operators) != 1 or case.random:
            continue
        operator = operators[0]
        if taken[operator] >= (MANY if operator in WEIGHTY else 1) or suite.binding(case) is not None:
            continue
        if written := line(case):
            lines.append(written)
            taken[operator] += 1
    FILE.write_text("".join(f"{written}\n" for written in lines))
    print(f"{len(lines)} cases of {len(taken)} operators, {FILE.stat().st_size // 1024} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
