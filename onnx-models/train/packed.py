"""Packed tensors, the byte format of the contracts, as far as the probes need it.

count u8, then per tensor: dtype u8, decimals u8, rank u8, dims u32[rank], elements; all big-endian.
"""

import struct

import numpy as np

# Open Inference Protocol name -> (dtype code, big-endian numpy type)
TYPES = {
    "INT8": (1, ">i1"),
    "INT32": (3, ">i4"),
    "INT64": (4, ">i8"),
    "UINT8": (6, ">u1"),
    "FP32": (12, ">f4"),
    "FP64": (13, ">f8"),
    "BOOL": (14, ">u1"),
}
CODES = {code: name for name, (code, _) in TYPES.items()}


def pack(tensors: list[dict]) -> bytes:
    """Tensors as the Open Inference Protocol writes them, packed in the given order."""
    out = bytearray([len(tensors)])
    for tensor in tensors:
        code, dtype = TYPES[tensor["datatype"]]
        shape = tensor["shape"]
        out += struct.pack(f">BBB{len(shape)}I", code, 0, len(shape), *shape)
        elements = np.asarray(tensor["data"]).astype(dtype)
        assert elements.size == int(np.prod(shape)), tensor["name"]
        out += elements.tobytes()
    return bytes(out)


def unpack(data: bytes, names: list[str]) -> list[dict]:
    """The inverse of `pack`; the names come from the model, the bytes carry none."""
    assert data[0] == len(names)
    at, tensors = 1, []
    for name in names:
        code, decimals, rank = data[at : at + 3]
        assert decimals == 0
        shape = list(struct.unpack_from(f">{rank}I", data, at + 3))
        at += 3 + 4 * rank
        dtype = np.dtype(TYPES[CODES[code]][1])
        size = int(np.prod(shape)) * dtype.itemsize
        elements = np.frombuffer(data[at : at + size], dtype)
        tensors.append({"name": name, "datatype": CODES[code], "shape": shape, "data": elements.tolist()})
        at += size
    assert at == len(data), "trailing bytes"
    return tensors


def largest(tensors: list[dict], rows: int, columns: int, width: int) -> int:
    """Bytes of `rows` rows with elements of `width` bytes; `columns` stands for dynamic dimensions after the first."""
    total = 1
    for tensor in tensors:
        first, *rest = tensor["shape"]
        dims = [rows if first == -1 else first] + [columns if d == -1 else d for d in rest]
        total += 3 + 4 * len(dims) + width * int(np.prod(dims))
    return total
