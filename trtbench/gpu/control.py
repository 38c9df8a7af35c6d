"""The GPUs of a run: checked before anything is spent, held while it runs, looked at before each stage.

A ballast holds GPU memory so that a server finds less of it: the run at a chosen free memory, without another GPU.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from trtbench.gpu.journal import Journal, claim, state_directory
from trtbench.gpu.lock import Tell, locked, restore_left_behind
from trtbench.gpu.nvml import Gpu, GpuError, session
from trtbench.gpu.requested import GIB, RequestedDevice, check, resolve
from trtbench.gpu.status import busy, check_idle, cool
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
def ballast(asked: GpuControl, requested: RequestedDevice) -> Iterator[Ballast]:
    """Memory of the device held while the block runs; GpuError when there is not as much, or CUDA does not start."""
    hold = asked.memory_ballast_gib is not None
    key, size_gib = ("memory_ballast_gib", asked.memory_ballast_gib) if hold else ("memory_leave_free_gib", asked.memory_leave_free_gib)
    assert size_gib is not None
    process = _start("hold" if hold else "leave", round(size_gib * GIB), requested.device.uuid)
    try:
        yield _taken(process, key, size_gib, requested)
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


def _taken(process: subprocess.Popen[bytes], key: str, size_gib: float, requested: RequestedDevice) -> Ballast:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], _START_TIMEOUT_S)
    try:
        said: dict[str, Any] = json.loads(process.stdout.readline()) if readable else {"error": "no answer from CUDA"}
    except ValueError:
        said = {"error": "its process ended without a word"}
    if "error" in said:
        raise GpuError(f"gpu.{key}: no memory could be held on {requested.label}: {said['error']}")
    if said["short"]:
        raise GpuError(
            f"gpu.{key}: {requested.label} had {said['free_before_bytes'] / GIB:.2f} GiB free, {size_gib:g} GiB are asked, "
            f"{said['held_bytes'] / GIB:.2f} GiB could be held: lower it, or free some"
        )
    return Ballast(said["held_bytes"], said["free_bytes"], said["total_bytes"])


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.communicate(timeout=_STOP_TIMEOUT_S)  # closes stdin, which asks it to end
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


class HeldGpus:
    """What a run keeps asking of its GPUs."""

    def __init__(self, asked: GpuControl, all_requested: list[RequestedDevice]) -> None:
        self._asked = asked
        self._all_requested = all_requested

    async def before_stage(self, tell: Tell, stage: str, stopped: Callable[[], bool]) -> None:
        """Wait until the GPUs are cool (event gpu_cooled), and name who else uses them (event gpu_busy).

        A GPU with a process that is not to be seen from here is passed over: its pids are of another namespace, our own server's too.
        """
        if self._asked.cool_down:
            cooled = await cool(self._asked.cool_down, self._all_requested, stopped)
            tell("gpu_cooled", {"stage": stage, "asked_c": self._asked.cool_down.temperature_c} | asdict(cooled))
        for label, there in busy(self._all_requested).items():
            if all(one.name for one in there):
                tell("gpu_busy", {"stage": stage, "gpu": label, "processes": [one.to_json() for one in there]})


def check_gpus(asked: GpuControl) -> None:
    """GpuError when the GPUs cannot be held as asked, ClaimedError when another run holds one."""
    with _gpus() as gpus:
        all_requested = resolve(asked, gpus)
        for requested in all_requested:
            with claim(requested.device.uuid, state_directory()):
                pass
        check(asked, all_requested)
        if asked.require_idle:
            check_idle(all_requested)


@contextmanager
def held(asked: GpuControl, tell: Tell) -> Iterator[HeldGpus]:
    """Settings and ballast of `asked`, while the block runs; ClaimedError when another run holds a GPU."""
    with _gpus() as gpus, ExitStack() as stack:
        all_requested = resolve(asked, gpus)
        stack.enter_context(locked(all_requested, state_directory(), tell))
        for requested in all_requested if asked.holds_memory else ():
            taken = stack.enter_context(ballast(asked, requested))
            tell("gpu_ballast", {"gpu": requested.gpu.index, "device": requested.device.uuid} | asdict(taken))
        yield HeldGpus(asked, all_requested)


def restore_left(tell: Tell) -> list[Journal]:
    """Put back what killed runs left behind; the journals of runs that live, which are left alone. GpuError when it may not be done."""
    with session() as gpus:
        return restore_left_behind(gpus, state_directory(), tell)


@contextmanager
def _gpus() -> Iterator[list[Gpu]]:
    with ExitStack() as stack:
        try:
            gpus = stack.enter_context(session())
        except GpuError as error:
            raise GpuError(f"gpu: {error}; leave gpu out of the scenario to run without a GPU") from error
        yield gpus
