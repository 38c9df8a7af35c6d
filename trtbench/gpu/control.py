"""Control of the GPUs of a run: checked before the run, settings and memory held during it, temperature and use checked before a stage.

A ballast holds GPU memory, so that a run can measure how a server behaves with less free memory than the GPU has.
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

from trtbench.gpu.inventory import Gpu, GpuError, session
from trtbench.gpu.journal import Journal, claim, state_directory
from trtbench.gpu.lock import Tell, locked, restore_left_behind
from trtbench.gpu.requested import GIB, RequestedDevice, check, resolve
from trtbench.gpu.status import busy, check_idle, cool
from trtbench.rundir.gpu_events import GpuBallast, GpuBusy, GpuCooled, GpuProcess
from trtbench.scenario.deployment.gpu_settings import GpuControl

_PACKAGE_PARENT = Path(__file__).parents[2]  # the child's working directory: it imports this trtbench, and no module of the user's
_START_TIMEOUT_S = 60.0  # a CUDA context on a machine with many GPUs takes seconds
_STOP_TIMEOUT_S = 10.0


@dataclass(frozen=True)
class Ballast:
    """The memory that is held, and what CUDA reports as free. The ballast's CUDA context takes some hundred MiB in addition."""

    held_bytes: int
    free_bytes: int
    total_bytes: int


@contextmanager
def ballast(asked: GpuControl, requested: RequestedDevice) -> Iterator[Ballast]:
    """Hold memory of the device while the block runs; GpuError if less is free, or if CUDA does not start."""
    hold = asked.memory_ballast_gib is not None
    key, size_gib = ("memory_ballast_gib", asked.memory_ballast_gib) if hold else ("memory_leave_free_gib", asked.memory_leave_free_gib)
    assert size_gib is not None
    process = _start("hold" if hold else "leave", round(size_gib * GIB), requested.device.uuid)
    try:
        yield _allocated(process, key, size_gib, requested)
    finally:
        _end(process)


def _start(how: str, size_bytes: int, uuid: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "trtbench.gpu", how, str(size_bytes)],
        bufsize=0,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=_PACKAGE_PARENT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": uuid},  # by UUID, because CUDA does not number GPUs as NVML does
        start_new_session=True,  # Ctrl-C reaches the parent only, which decides what to end
    )


def _allocated(process: subprocess.Popen[bytes], key: str, size_gib: float, requested: RequestedDevice) -> Ballast:
    assert process.stdout is not None
    readable, _, _ = select.select([process.stdout], [], [], _START_TIMEOUT_S)
    try:
        reply: dict[str, Any] = json.loads(process.stdout.readline()) if readable else {"error": "no answer from CUDA"}
    except ValueError:
        reply = {"error": "the process that should hold it ended without a message"}
    if "error" in reply:
        raise GpuError(f"gpu.{key}: no memory could be held on {requested.label}: {reply['error']}")
    if reply["short"]:
        raise GpuError(
            f"gpu.{key}: {requested.label} had {reply['free_before_bytes'] / GIB:.2f} GiB free, {size_gib:g} GiB are requested, "
            f"{reply['held_bytes'] / GIB:.2f} GiB could be held: lower the value, or free memory on the GPU"
        )
    return Ballast(reply["held_bytes"], reply["free_bytes"], reply["total_bytes"])


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.communicate(timeout=_STOP_TIMEOUT_S)  # closes stdin, upon which the process ends
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()


class HeldGpus:
    """The GPUs of a run, while their settings and memory are held."""

    def __init__(self, asked: GpuControl, all_requested: list[RequestedDevice]) -> None:
        self._asked = asked
        self._all_requested = all_requested

    async def before_stage(self, tell: Tell, stage: str, stopped: Callable[[], bool]) -> None:
        """Wait until the GPUs are cool (event gpu_cooled), and report other processes that use them (event gpu_busy).

        A GPU with a process that cannot be seen from here is left out: its pids are of another namespace, where the pid of this run's
        own server is not known.
        """
        if self._asked.cool_down:
            cooled = await cool(self._asked.cool_down, self._all_requested, stopped)
            tell(GpuCooled(stage=stage, asked_c=self._asked.cool_down.temperature_c, **asdict(cooled)))
        for label, there in busy(self._all_requested).items():
            if all(one.name for one in there):
                tell(GpuBusy(stage=stage, gpu=label, processes=[GpuProcess(**asdict(one)) for one in there]))


def check_gpus(asked: GpuControl) -> None:
    """GpuError if the GPUs cannot be held as requested, ClaimedError if another run holds one."""
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
    """Hold the settings and memory that `asked` names while the block runs; ClaimedError if another run holds a GPU."""
    with _gpus() as gpus, ExitStack() as stack:
        all_requested = resolve(asked, gpus)
        stack.enter_context(locked(all_requested, state_directory(), tell))
        for requested in all_requested if asked.holds_memory else ():
            taken = stack.enter_context(ballast(asked, requested))
            tell(GpuBallast(gpu=requested.gpu.index, device=requested.device.uuid, **asdict(taken)))
        yield HeldGpus(asked, all_requested)


def restore_left(tell: Tell) -> list[Journal]:
    """Restore the settings that killed runs left; returns the journals of runs that are alive, which are left alone.

    GpuError if this user may not restore them."""
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
