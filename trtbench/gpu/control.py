"""The GPUs of a run: checked before anything is spent, held while it runs, looked at before each stage."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict

from trtbench.gpu.ballast import ballast
from trtbench.gpu.idle import busy, check_idle, cool
from trtbench.gpu.journal import Journal, claim, state_directory
from trtbench.gpu.lock import Tell, locked, restore_left_behind
from trtbench.gpu.nvml import Gpu, GpuError, session
from trtbench.gpu.requested import Wish, check, resolve
from trtbench.scenario.deployment.gpu import GpuControl


class HeldGpus:
    """What a run keeps asking of its GPUs."""

    def __init__(self, asked: GpuControl, wishes: list[Wish]) -> None:
        self._asked = asked
        self._wishes = wishes

    async def before_stage(self, tell: Tell, stage: str, stopped: Callable[[], bool]) -> None:
        """Wait until the GPUs are cool (event gpu_cooled), and name who else uses them (event gpu_busy).

        A GPU with a process that is not to be seen from here is passed over: its pids are of another namespace, our own server's too.
        """
        if self._asked.cool_down:
            cooled = await cool(self._asked.cool_down, self._wishes, stopped)
            tell("gpu_cooled", {"stage": stage, "asked_c": self._asked.cool_down.temperature_c} | asdict(cooled))
        for label, there in busy(self._wishes).items():
            if all(one.name for one in there):
                tell("gpu_busy", {"stage": stage, "gpu": label, "processes": [one.to_json() for one in there]})


def check_gpus(asked: GpuControl) -> None:
    """GpuError when the GPUs cannot be held as asked, ClaimedError when another run holds one."""
    with _gpus() as gpus:
        wishes = resolve(asked, gpus)
        for wish in wishes:
            with claim(wish.device.uuid, state_directory()):
                pass
        check(asked, wishes)
        if asked.require_idle:
            check_idle(wishes)


@contextmanager
def held(asked: GpuControl, tell: Tell) -> Iterator[HeldGpus]:
    """Settings and ballast of `asked`, while the block runs; ClaimedError when another run holds a GPU."""
    with _gpus() as gpus, ExitStack() as stack:
        wishes = resolve(asked, gpus)
        stack.enter_context(locked(wishes, state_directory(), tell))
        for wish in wishes if asked.holds_memory else ():
            taken = stack.enter_context(ballast(asked, wish))
            tell("gpu_ballast", {"gpu": wish.gpu.index, "device": wish.device.uuid} | asdict(taken))
        yield HeldGpus(asked, wishes)


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
