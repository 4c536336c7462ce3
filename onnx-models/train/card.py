"""Details documents, model cards and the model id that the contracts derive from a card."""

import hashlib
import json
from decimal import Decimal

from Crypto.Hash import keccak

# What relayer/judge/src/profile.rs has: an answer is the canonical judge's own bytes.
RUNTIME = "onnxruntime-wasm=1.30.0;sha256=3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"
PROFILE = (
    f"lane=exact;{RUNTIME};threads=1;execution=sequential;optimization=off;nan=canonical;"
    "memory=2147418112;fuel=10000000000"
)
EXACT = {"kind": "exact"}
KINDS = {"exact": 0, "elementwise": 1, "argmax": 2}


def sha256(data: bytes) -> str:
    return "0x" + hashlib.sha256(data).hexdigest()


def canonical(document) -> bytes:
    """UTF-8, keys in byte order, no whitespace, integers only: one document has one byte string."""

    def refuse(value):
        if isinstance(value, float):
            raise TypeError(f"{value}: write decimals as strings")
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            refuse(item)

    refuse(document)
    # Code-point order, which is what Python sorts by, is byte order in UTF-8.
    return json.dumps(document, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode()


def units(decimal: str) -> int:
    """A tolerance in units of 1e-18."""
    scaled = Decimal(decimal) * 10**18
    assert scaled == int(scaled) and scaled >= 0, decimal
    return int(scaled)


def word(value: int) -> bytes:
    return value.to_bytes(32, "big")


def model_id(card: dict) -> str:
    """keccak256(abi.encode(card)), the card as the Solidity struct

    ModelCard { bytes32 fileHash, detailsHash, profileHash; Agreement[] agreement; address verifier;
                uint32 maxInputBytes, maxOutputBytes }
    Agreement { uint8 kind; uint128 atol, rtol, gap }
    """
    head = [bytes.fromhex(card[key][2:]) for key in ("sha256", "details")]
    head.append(hashlib.sha256(card["profile"].encode()).digest())
    head.append(word(7 * 32))  # where the agreement array starts, counted from the struct
    head.append(word(int(card["verifier"], 16)))
    head += [word(card["maxInputBytes"]), word(card["maxOutputBytes"])]
    tail = [word(len(card["agreement"]))]
    for rule in card["agreement"]:
        tail.append(word(KINDS[rule["kind"]]))
        tail += [word(units(rule.get(key, "0"))) for key in ("atol", "rtol", "gap")]
    encoded = word(32) + b"".join(head + tail)
    return "0x" + keccak.new(digest_bits=256, data=encoded).hexdigest()


def make_card(name: str, model: bytes, details: bytes, outputs: int, max_input: int, max_output: int) -> dict:
    card = {
        "name": name,
        "file": "model.onnx",
        "sha256": sha256(model),
        "details": sha256(details),
        "profile": PROFILE,
        "agreement": [EXACT] * outputs,
        "verifier": "0x" + "0" * 40,
        "maxInputBytes": max_input,
        "maxOutputBytes": max_output,
    }
    return card | {"modelId": model_id(card)}
