#!/usr/bin/env python3
"""Writes tensors.json, tensors-quantise.json and payout.json beside itself: what packed tensors are, how floats become
integers, and what each signer of an answer is paid.

Only the standard library and docs/protocol.md went into it, neither codec. Rounding is exact, in fractions.
Run it again after a change; CI need not, the files are committed. `--check` compares and writes nothing.
"""

import json
import random
import struct
import sys
from fractions import Fraction
from pathlib import Path

HERE = Path(__file__).parent
CODES = {
    name: code
    for code, name in enumerate("i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f16 f32 f64 bool string bf16".split(), 1)
}
WIDTH = {"i8": 1, "i16": 2, "i32": 4, "i64": 8, "i128": 16, "u8": 1, "u16": 2, "u32": 4, "u64": 8, "u128": 16,
         "f16": 2, "f32": 4, "f64": 8, "bool": 1}
# Fraction bits and exponent bits.
FLOATS = {"f16": (10, 5), "f32": (23, 8), "f64": (52, 11)}


def header(code, decimals, dims, rank=None):
    out = bytes([code, decimals, len(dims) if rank is None else rank])
    return out + b"".join(d.to_bytes(4, "big") for d in dims)


def element(dtype, datum):
    if dtype == "string":
        raw = datum.encode("utf-8")
        return len(raw).to_bytes(4, "big") + raw
    if dtype == "bool":
        return b"\1" if datum == "true" else b"\0"
    if dtype in FLOATS:
        return int(datum, 16).to_bytes(WIDTH[dtype], "big")
    return int(datum).to_bytes(WIDTH[dtype], "big", signed=dtype[0] == "i")


def encode(tensors):
    out = bytes([len(tensors)])
    for t in tensors:
        out += header(CODES[t["dtype"]], t["decimals"], t["shape"])
        out += b"".join(element(t["dtype"], d) for d in t["data"])
    return out


def tensor(dtype, shape, data, decimals=0):
    count = 1
    for d in shape:
        count *= d
    assert count == len(data), (dtype, shape, data)
    return {"dtype": dtype, "decimals": decimals, "shape": list(shape), "data": [str(d) for d in data]}


def bits(dtype, value):
    return "0x" + struct.pack({"f16": ">e", "f32": ">f", "f64": ">d"}[dtype], value).hex()


def valid():
    cases = []

    def add(name, *tensors):
        cases.append({"name": name, "hex": "0x" + encode(tensors).hex(), "tensors": list(tensors)})

    add("no tensors")
    for t in ["i8", "i16", "i32", "i64", "i128"]:
        top = 1 << (8 * WIDTH[t] - 1)
        add(f"{t}: bounds, zero and signs", tensor(t, [5], [-top, -1, 0, 1, top - 1]))
        add(f"{t}: 36 decimals", tensor(t, [1, 2], [-7, 42], 36))
    for t in ["u8", "u16", "u32", "u64", "u128"]:
        top = 1 << (8 * WIDTH[t])
        add(f"{t}: bounds", tensor(t, [3], [0, 1, top - 1]))
        add(f"{t}: 18 decimals", tensor(t, [2, 1], [top - 1, 5], 18))
    for t, (fraction, exponent) in FLOATS.items():
        w = 8 * WIDTH[t]
        infinity = ((1 << exponent) - 1) << fraction
        specials = [0, 1 << (w - 1), 1, (1 << fraction) - 1, 1 << fraction, infinity - 1, infinity,
                    infinity | 1 << (w - 1), infinity | 1 << (fraction - 1), infinity | 1]
        add(f"{t}: zeros, subnormals, bounds, infinities, NaN with payloads",
            tensor(t, [10], ["0x" + v.to_bytes(w // 8, "big").hex() for v in specials]))
        add(f"{t}: numbers", tensor(t, [2, 2], [bits(t, v) for v in (1.0, -2.5, 0.1, 1000.0)]))
    add("bool: both", tensor("bool", [2], ["false", "true"]))
    add("bool: more than a word", tensor("bool", [5, 7], ["true" if i % 3 else "false" for i in range(35)]))
    add("bool: exactly a word", tensor("bool", [32], ["true"] * 32))
    add("string: empty", tensor("string", [1], [""]))
    add("string: ascii", tensor("string", [2], ["What is an oracle?", "a"]))
    add("string: longer than a word", tensor("string", [1], ["abcdefghijklmnopqrstuvwxyz" * 3]))
    add("string: two, three and four bytes", tensor("string", [3], ["ß߿\u0080", "ऀ€\uffff\u0800\ud7ff\ue000", "🦊\U00010000\U0010ffff"]))
    add("string: a byte order mark and a zero are characters", tensor("string", [1], ["\ufeffa\u0000b"]))
    add("string: multibyte across a word's end", tensor("string", [1], ["x" * 31 + "é" + "y" * 40 + "漢"]))
    add("string: scalar", tensor("string", [], ["one"]))
    add("string: no elements", tensor("string", [0, 3], []))
    for t in ["i8", "i32", "u128", "f16", "f64", "bool"]:
        one = "true" if t == "bool" else bits(t, -1.5) if t in FLOATS else 7
        add(f"{t}: scalar", tensor(t, [], [one]))
        add(f"{t}: no elements", tensor(t, [0], []))
    add("rank 8", tensor("u8", [1, 2, 1, 2, 1, 2, 1, 2], range(16)))
    add("rank 8, no elements", tensor("f32", [1, 2, 3, 4, 5, 6, 7, 0], []))
    add("huge dims beside a zero are no elements", tensor("i128", [2**32 - 1] * 7 + [0], []))
    add("a zero first, then huge dims", tensor("string", [0] + [2**32 - 1] * 7, []))
    add("iris in", tensor("i32", [1, 4], [51, 35, 14, 2], 1))
    add("iris out", tensor("i32", [1, 3], [973412, 26588, 0], 6))
    add("digits in", tensor("u8", [1, 1, 8, 8], [(i * 7) % 17 for i in range(64)]))
    add("credit in: two inputs", tensor("i32", [1, 7], [24, 3500, 2, 2, 38, 2, 1]),
        tensor("u8", [1, 13], [2, 0, 3, 1, 2, 3, 0, 2, 1, 0, 1, 0, 1]))
    add("negative fixed-point", tensor("i64", [2], [-1234567, 1], 6))
    add("four types in one list", tensor("i16", [2], [-3, 3], 2), tensor("string", [2], ["a", "bc"]),
        tensor("bool", [1], ["true"]), tensor("f64", [], [bits("f64", 3.141592653589793)]))
    add("an empty tensor between others", tensor("u8", [1], [1]), tensor("u8", [0], []), tensor("u8", [1], [2]))
    add("64 tensors", *[tensor("u8", [], [i]) for i in range(64)])
    rng = random.Random(1)
    add("1,000 two-byte numbers", tensor("i16", [1, 1000], [rng.randrange(-32768, 32768) for _ in range(1000)], 3))
    return cases


def invalid():
    cases = []

    def add(reason, name, raw):
        cases.append({"name": name, "hex": "0x" + raw.hex(), "reason": reason})

    one = encode([tensor("i32", [1, 4], [51, 35, 14, 2], 1)])
    two = encode([tensor("u8", [1], [1]), tensor("string", [1], ["hello"])])
    add("truncated", "no bytes", b"")
    add("truncated", "a count and nothing else", b"\1")
    for cut in (2, 3, 4, 8, 11, len(one) - 1):
        add("truncated", f"one tensor cut to {cut} bytes", one[:cut])
    add("truncated", "the second tensor is missing", b"\2" + one[1:])
    add("truncated", "a string's length is cut", two[:-6])
    add("truncated", "a string is cut", two[:-1])
    add("truncated", "a string longer than all bytes", b"\1" + header(15, 0, [1]) + b"\xff\xff\xff\xffabc")
    add("truncated", "4,294,967,295 elements that are not there", b"\1" + header(6, 0, [2**32 - 1]))
    add("truncated", "as many strings", b"\1" + header(15, 0, [2**32 - 1]))
    add("truncated", "2^64 elements: a product that wraps 64 bits", b"\1" + header(6, 0, [2**16] * 4))
    add("truncated", "2^60 elements of 16 bytes: a size that wraps 64 bits", b"\1" + header(10, 0, [2**30, 2**30]))
    add("truncated", "(2^32 − 1)^8 elements", b"\1" + header(5, 0, [2**32 - 1] * 8))
    add("truncated", "one element too few", b"\1" + header(4, 0, [3]) + bytes(23))
    add("trailing", "a byte after no tensors", b"\0\0")
    add("trailing", "a byte after one", one + b"\0")
    add("trailing", "a whole tensor too many", one + one[1:])
    add("trailing", "a byte after an empty tensor", encode([tensor("i8", [0], [])]) + b"\0")
    add("trailing", "a byte after a string", two + b"a")
    add("dtype", "dtype 0", b"\1" + header(0, 0, [1]) + b"\0")
    add("dtype", "bf16, reserved", b"\1" + header(16, 0, [1]) + b"\0\0")
    add("dtype", "dtype 17", b"\1" + header(17, 0, [1]) + b"\0")
    add("dtype", "dtype 255", b"\1" + header(255, 0, [1]) + b"\0")
    add("dtype", "an unknown dtype after a good tensor", b"\2" + one[1:] + header(99, 0, [0]))
    add("decimals", "37 decimals", b"\1" + header(3, 37, [1]) + bytes(4))
    add("decimals", "255 decimals, unsigned", b"\1" + header(10, 255, [1]) + bytes(16))
    for t in ("f16", "f32", "f64", "bool"):
        add("decimals", f"{t} with decimals", b"\1" + header(CODES[t], 1, [1]) + bytes(WIDTH[t]))
    add("decimals", "string with decimals", b"\1" + header(15, 1, [1]) + bytes(4))
    add("rank", "rank 9", b"\1" + header(6, 0, [1] * 9) + b"\0")
    add("rank", "rank 255", b"\1" + header(6, 0, [1] * 255) + b"\0")
    add("count", "65 tensors", bytes([65]) + (header(6, 0, []) + b"\0") * 65)
    add("count", "255 tensors", bytes([255]) + (header(6, 0, []) + b"\0") * 255)
    add("bool", "a bool of 2", b"\1" + header(14, 0, [3]) + b"\1\2\0")
    add("bool", "a bool of 255", b"\1" + header(14, 0, []) + b"\xff")
    add("bool", "the 32nd bool", b"\1" + header(14, 0, [32]) + bytes(31) + b"\x80")
    add("bool", "the 33rd bool", b"\1" + header(14, 0, [33]) + bytes(32) + b"\2")
    for name, raw in {
        "a lone continuation byte": b"\x80",
        "a lead byte at the end": b"a\xc3",
        "three bytes, one missing": b"\xe2\x82",
        "four bytes, one missing": b"\xf0\x9f\xa6",
        "a lead byte before ascii": b"\xc3a",
        "an overlong slash in two bytes": b"\xc0\xaf",
        "C1": b"\xc1\xbf",
        "an overlong form in three bytes": b"\xe0\x9f\xbf",
        "an overlong form in four bytes": b"\xf0\x8f\xbf\xbf",
        "the first surrogate": b"\xed\xa0\x80",
        "the last surrogate": b"\xed\xbf\xbf",
        "above U+10FFFF": b"\xf4\x90\x80\x80",
        "F5": b"\xf5\x80\x80\x80",
        "FF": b"\xff",
        "a bad third byte": b"\xe2\x82\x28",
        "a bad fourth byte": b"\xf0\x9f\xa6\x28",
        "after 40 good bytes": b"g" * 40 + b"\xfe",
    }.items():
        add("utf8", f"utf-8: {name}", b"\1" + header(15, 0, [1]) + len(raw).to_bytes(4, "big") + raw)
    add("utf8", "utf-8: a character across two strings", b"\1" + header(15, 0, [2]) + b"\0\0\0\1\xc3\0\0\0\1\xa9")
    add("utf8", "utf-8: in a second tensor", b"\2" + one[1:] + header(15, 0, []) + b"\0\0\0\1\xff")
    return cases


def exact(dtype, pattern):
    """The float's value as a fraction; None for NaN and infinities."""
    fraction, exponent = FLOATS[dtype]
    sign = -1 if pattern >> (fraction + exponent) else 1
    biased = pattern >> fraction & ((1 << exponent) - 1)
    significand = pattern & ((1 << fraction) - 1)
    if biased == (1 << exponent) - 1:
        return None
    if biased:
        significand |= 1 << fraction
    power = max(biased, 1) - (1 << (exponent - 1)) + 1 - fraction
    return sign * significand * Fraction(2) ** power


def quantise(dtype, pattern, width, decimals):
    value = exact(dtype, pattern)
    if value is None:
        return "unrepresentable"
    integer = round(value * 10**decimals)  # of a fraction: exact, half to even
    top = 1 << (8 * width - 1)
    return str(integer) if -top <= integer < top else "unrepresentable"


def quantised():
    cases, seen = [], set()

    def add(dtype, pattern, width, decimals):
        key = (dtype, pattern, width, decimals)
        if key not in seen:
            seen.add(key)
            cases.append({"dtype": dtype, "bits": f"0x{pattern:0{2 * WIDTH[dtype]}x}", "width": width,
                          "decimals": decimals, "integer": quantise(*key)})

    def number(dtype, value, width, decimals):
        add(dtype, int(bits(dtype, value), 16), width, decimals)

    for dtype, (fraction, exponent) in FLOATS.items():
        sign = 1 << (fraction + exponent)
        infinity = ((1 << exponent) - 1) << fraction
        for special in (0, 1, (1 << fraction) - 1, 1 << fraction, infinity - 1, infinity, infinity | 1,
                        infinity | 1 << (fraction - 1)):
            for s in (0, sign):
                for width, decimals in ((1, 0), (4, 6), (8, 18), (16, 18), (16, 36)):
                    add(dtype, special | s, width, decimals)
        for value in (0.5, 1.5, 2.5, 3.5, 126.5, 127.5, 127.49, 128.5):  # ties, and ties at the bounds
            for s in (1, -1):
                number(dtype, s * value, 1, 0)
        for value in (0.25, 0.75, 0.125, 0.375, 0.0625):  # ties after scaling by ten
            for s in (1, -1):
                number(dtype, s * value, 2, 1)
                number(dtype, s * value, 4, 2)
                number(dtype, s * value, 4, 3)
        for value in (0.1, 1 / 3, 2 / 3, 0.973412, 1e-7, 5e-7, 1.5e-6):
            for s in (1, -1):
                for width, decimals in ((2, 4), (4, 6), (8, 9), (16, 18), (16, 36)):
                    number(dtype, s * value, width, decimals)
        for value in (32767.0, 32768.0, -32768.0, -32784.0, 2147.4835, 2147.484, -2147.4836, -2147.484):
            number(dtype, value, 2, 0)
            number(dtype, value, 4, 6)
    for dtype in ("f32", "f64"):
        for width in (4, 8, 16):  # 2^(8w−1) does not fit, its negative does; so do their inner neighbours
            top = 2.0 ** (8 * width - 1)
            pattern = int(bits(dtype, top), 16)
            for p in (pattern, pattern - 1, pattern + 1):
                for s in (0, 1 << (8 * WIDTH[dtype] - 1)):
                    add(dtype, p | s, width, 0)
    for value in (0.0000005, 0.0000015, 1e-19, 2.0**-19, 2.0**-61, 9.007199254740993e15, 1e20, 1.7e308, 5e-324):
        for width, decimals in ((4, 6), (8, 18), (16, 18), (16, 36)):
            number("f64", value, width, decimals)
    rng = random.Random(2)
    for dtype in FLOATS:
        for _ in range(60):
            add(dtype, rng.getrandbits(8 * WIDTH[dtype]), rng.choice((1, 2, 4, 8, 16)), rng.randrange(37))
        for _ in range(60):
            value = rng.uniform(-1, 1) * 10.0 ** rng.randrange(-4, 4)
            number(dtype, value, rng.choice((4, 8, 16)), rng.randrange(19))
    return cases


def payouts():
    """Shares in wei, by position: the signers in ascending order of rank."""
    cases, top = [], 2**96 - 1

    def add(fee, submit_fee, quorum):
        each, remainder = divmod(fee, quorum)
        shares = [each + (remainder + submit_fee if position == 0 else 0) for position in range(quorum)]
        assert sum(shares) == fee + submit_fee
        cases.append({"fee": str(fee), "submitFee": str(submit_fee), "quorum": quorum,
                      "shares": [str(share) for share in shares]})

    for fee, submit_fee in ((0, 0), (1_000, 0), (0, 5), (10**15, 3 * 10**14), (top, 0), (0, top), (top, top)):
        add(fee, submit_fee, 1)
    for quorum in (2, 3, 7, 21):
        for fee in (0, 1, quorum - 1, quorum, quorum + 1, 10**15, top):
            add(fee, 0, quorum)
            add(fee, 10**14 + 1, quorum)
        add(top, top, quorum)
    add(top, 1, 255)
    rng = random.Random(3)
    for _ in range(20):
        add(rng.getrandbits(rng.randrange(97)), rng.getrandbits(rng.randrange(97)), rng.randrange(1, 33))
    return cases


def main():
    files = {
        "tensors.json": {"valid": valid(), "invalid": invalid()},
        "tensors-quantise.json": {"cases": quantised()},
        "payout.json": {"cases": payouts()},
    }
    for name, content in files.items():
        lists = [
            f' "{key}": [\n' + ",\n".join("  " + json.dumps(case, ensure_ascii=True) for case in cases) + "\n ]"
            for key, cases in content.items()
        ]
        text = "{\n" + ",\n".join(lists) + "\n}\n"
        path = HERE / name
        if "--check" in sys.argv:
            if path.read_text() != text:
                sys.exit(f"{name} differs from what generate.py makes: run tests/vectors/generate.py")
        else:
            path.write_text(text)
        print(name, {key: len(cases) for key, cases in content.items()})


main()
