"""Hosts of the judge's WebAssembly file, which have to give the same bits."""

import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import numpy as np
import suite
from onnx import TensorProto, helper

SCRIPT = str(Path(__file__).with_name("digests.mjs"))
ARM = Path("/usr/aarch64-linux-gnu")
ARM_NODE = ".tools/matrix/node-arm64/bin/node"
# Without what the emulator warns that it does not have; no compiler uses it.
HASWELL = "Haswell,-hle,-invpcid,-pcid,-rtm,-tsc-deadline,-x2apic"
# Instructions of the longest case on emulated processors, which take up to a hundred times as long.
EMULATED = 4e9


@dataclass
class Host:
    name: str
    command: list[str]
    # Debian's packages that it needs, and one of the files that they bring.
    packages: str = ""
    needs: list[Path] = field(default_factory=list)
    # Instructions of a case, at most.
    longest: float = inf
    # Cases of a process, at most: emulated memory grows by 25 MB with each instance of the judge, Node's by 2 MB with a case.
    batch: int = 500

    @property
    def emulated(self) -> bool:
        return self.longest < inf

    @property
    def missing(self) -> str | None:
        """Why the host is not here."""
        if shutil.which(self.command[0]) and all(path.exists() for path in self.needs):
            return None
        return f"not here: `apt-get install {self.packages}`"

    def digests(self, folder: str, names: list[str]) -> dict[str, dict]:
        """A line for each case, in as many processes at a time as there are processors."""
        jobs = os.cpu_count() or 1
        count = min(len(names), max(jobs, -(-len(names) // self.batch)))
        parts = [names[part::count] for part in range(count)]
        with ThreadPoolExecutor(jobs) as pool:
            found = pool.map(lambda part: suite.lines([*self.command, folder, *part]), parts)
            return {name: line for lines in found for name, line in lines.items()}


def emulator(processor: str) -> str:
    return shutil.which(f"qemu-{processor}-static") or f"qemu-{processor}"


def hosts(binary: str) -> list[Host]:
    """All hosts; the others are compared with the first."""
    flags = Path("/proc/cpuinfo").read_text().split()
    here = next((name for flag, name in {"avx512f": "AVX-512", "avx2": "AVX2"}.items() if flag in flags), "this machine")
    cranelift = [binary, "--digests"]
    haswell = [emulator("x86_64"), "-cpu", HASWELL, *cranelift, "target/tmp/judge-haswell"]
    arm = [emulator("aarch64"), "-L", str(ARM), "-cpu", "cortex-a72", ARM_NODE, SCRIPT]
    return [
        Host(f"Cranelift, {here}", [*cranelift, "target/tmp/judge"]),
        Host("Cranelift, SSE2", [*cranelift, "target/tmp/judge", "--target", "x86_64-unknown-linux-gnu"]),
        Host("V8, this machine", ["node", SCRIPT]),
        Host("Cranelift, AVX2 (Haswell, emulated)", haswell, "qemu-user", longest=EMULATED, batch=64),
        Host("V8, Arm (Cortex-A72, emulated)", arm, "qemu-user libc6-arm64-cross libstdc++6-arm64-cross",
             [Path(ARM_NODE), ARM / "lib/ld-linux-aarch64.so.1", ARM / "lib/libstdc++.so.6"], EMULATED),
    ]


def write(case: suite.Case, folder: Path) -> None:
    """Writes a case for the product and, beside that, its inputs for hosts, as `digests.rs` says."""
    suite.write(case, folder)
    lines = [json.dumps([tensor(value) for value in inputs]) for inputs, _ in case.sets]
    (folder / "inputs").write_text("".join(f"{line}\n" for line in lines))


def tensor(value: np.ndarray) -> dict:
    if value.dtype.kind in "SUO":
        texts = [text if isinstance(text, bytes) else text.encode() for text in value.ravel().tolist()]
        return {"type": TensorProto.STRING, "dims": value.shape, "data": [text.hex() for text in texts]}
    return {"type": helper.np_dtype_to_tensor_dtype(value.dtype), "dims": value.shape, "data": value.tobytes().hex()}
