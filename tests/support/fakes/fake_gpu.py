"""Two GPUs that are none: libnvidia-ml.so.1 and libcuda.so.1 compiled from fixtures/, which a process of its own loads.

What the fake driver knows is in slots.h; `FakeGpus` reads and sets it while other processes use it.
"""

from __future__ import annotations

import json
import mmap
import os
import re
import shutil
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(__file__).parents[2] / "fixtures"
ROOT = Path(__file__).parents[3]
_SLOT = re.compile(r"^SLOT\((\w+), (-?\d+)\)", re.MULTILINE)
SLOTS = {name: (number, int(value)) for number, (name, value) in enumerate(_SLOT.findall((FIXTURES / "fake_nvml/slots.h").read_text()))}
UUIDS = tuple(f"GPU-{index:08d}-0000-0000-0000-000000000000" for index in range(2))
MIG_UUIDS = tuple(f"MIG-{index:08d}-0000-0000-0000-000000000000" for index in range(2))


def compile_fakes(directory: Path) -> Path:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) to build the fake driver with")
    for source, library in (("fake_nvml/nvml.c", "libnvidia-ml.so.1"), ("fake_cuda/cuda.c", "libcuda.so.1")):
        subprocess.run([compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", directory / library, FIXTURES / source], check=True)
    return directory


class FakeGpus:
    """`environment` is what a process needs to see the GPUs; its state directory is the test's own."""

    def __init__(self, libraries: Path, directory: Path) -> None:
        self._state = directory / "nvml-state"
        self._state.write_bytes(struct.pack(f"={len(SLOTS)}q", *(value for _, value in SLOTS.values())))
        self.journals = directory / "state" / "trtbench" / "gpu"
        self.environment = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"} | {
            "LD_LIBRARY_PATH": str(libraries),
            "FAKE_NVML_STATE": str(self._state),
            "XDG_STATE_HOME": str(directory / "state"),
            "PYTHONPATH": str(ROOT),
        }

    def __getitem__(self, slot: str) -> int:
        return int(struct.unpack_from("=q", self._state.read_bytes(), SLOTS[slot][0] * 8)[0])

    def __setitem__(self, slot: str, value: int) -> None:
        with self._state.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
            struct.pack_into("=q", memory, SLOTS[slot][0] * 8, value)

    def settings(self, gpu: int = 0) -> dict[str, int]:
        names = ("persistence", "compute_mode", "power_limit_mw", "sm_locked_mhz", "memory_locked_mhz")
        return {name: self[f"g{gpu}_{name}"] for name in names}

    def python(self, code: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self._run([sys.executable, "-c", code], variables)

    def ask(self, code: str, **variables: str) -> Any:
        """The value of the last line's expression of `code`, by JSON, in a process that sees the GPUs."""
        *lines, last = code.strip().splitlines()
        done = self.python("\n".join(["import json", *lines, f"print(json.dumps({last}))"]), **variables)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def trtbench(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return self._run([sys.executable, "-m", "trtbench.cli.main", *arguments], variables)

    def start(self, *arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.Popen[str]:
        """`trtbench ...`, which goes on; the caller ends it."""
        command = [sys.executable, "-m", "trtbench.cli.main", *arguments]
        environment = self.environment | variables
        return subprocess.Popen(command, cwd=cwd, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def _run(self, command: list[str], variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, env=self.environment | variables, capture_output=True, text=True, timeout=60, check=False)


def wait_until(holds: Any, what: str) -> None:
    for _ in range(600):
        if holds():
            return
        time.sleep(0.05)
    raise AssertionError(f"waited 30 s until {what}")
