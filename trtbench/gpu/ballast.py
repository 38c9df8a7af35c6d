"""Holds GPU memory so that a server finds less of it: the run at a chosen free memory, without another GPU."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtbench.gpu.nvml import GpuError
from trtbench.gpu.requested import GIB, Wish
from trtbench.scenario.deployment.gpu import GpuControl

_PACKAGE_PARENT = Path(__file__).parents[2]  # the child's working directory: finds this trtbench, and no stray module of the user's
_START_TIMEOUT_S = 60.0  # a CUDA context on a machine with many GPUs takes seconds
_STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Ballast:
    """What is held, and what CUDA says is left; the ballast's own context takes some hundred MiB of `total_bytes` besides."""

    held_bytes: int
    free_bytes: int
    total_bytes: int


@contextmanager
def ballast(asked: GpuControl, wish: Wish) -> Iterator[Ballast]:
    """Memory of the device held while the block runs; GpuError when there is not as much, or CUDA does not start."""
    hold = asked.memory_ballast_gib is not None
    key, size_gib = ("memory_ballast_gib", asked.memory_ballast_gib) if hold else ("memory_leave_free_gib", asked.memory_leave_free_gib)
    assert size_gib is not None
    process = _start("hold" if hold else "leave", round(size_gib * GIB), wish.device.uuid)
    try:
        yield _taken(process, key, size_gib, wish)
    finally:
        _end(process)


def _start(how: str, size_bytes: int, uuid: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "trtbench.gpu", how, str(size_bytes)],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=_PACKAGE_PARENT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": uuid},  # CUDA counts GPUs in an order of its own
        start_new_session=True,  # Ctrl-C is the parent's to judge
    )


def _taken(process: subprocess.Popen[bytes], key: str, size_gib: float, wish: Wish) -> Ballast:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], _START_TIMEOUT_S)
    try:
        said: dict[str, Any] = json.loads(process.stdout.readline()) if readable else {"error": "no answer from CUDA"}
    except ValueError:
        said = {"error": "its process ended without a word"}
    if "error" in said:
        raise GpuError(f"gpu.{key}: no memory could be held on {wish.label}: {said['error']}")
    if said["short"]:
        raise GpuError(
            f"gpu.{key}: {wish.label} had {said['free_before_bytes'] / GIB:.2f} GiB free, {size_gib:g} GiB are asked, "
            f"{said['held_bytes'] / GIB:.2f} GiB could be held: lower it, or free some"
        )
    return Ballast(said["held_bytes"], said["free_bytes"], said["total_bytes"])


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.communicate(timeout=_STOP_TIMEOUT_S)  # closes stdin, which asks it to end
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
