"""Holds settings of GPUs for as long as a `with` block runs, and puts back what was there before, however the block ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import Any

from trtbench.gpu.journal import ClaimedError, Held, Journal, JournalError, Owner, claim, drop, journals, read, save
from trtbench.gpu.nvml import Gpu, GpuError
from trtbench.gpu.requested import RequestedDevice
from trtbench.gpu.settings import read as read_setting
from trtbench.gpu.settings import restore, write
from trtbench.system.interrupts import signals_wait

Tell = Callable[[str, dict[str, Any]], None]
"""Takes an event's kind and data: gpu_locked (gpu, settings, previous), gpu_restored (gpu, settings, left_by: the pid of a dead run),
gpu_not_restored (gpu, cause)."""


@contextmanager
def locked(all_requested: Sequence[RequestedDevice], directory: Path, tell: Tell) -> Iterator[None]:
    """ClaimedError when another run holds one of the devices, GpuError when a setting is refused: then nothing is changed.

    What a dead run left behind there is put back first. While the block runs, a terminal that closes (SIGHUP) is taken as SIGTERM.
    """
    with ExitStack() as stack:
        for requested in all_requested:
            stack.enter_context(claim(requested.device.uuid, directory))
        for requested in all_requested:
            if requested.device is requested.gpu:  # a MIG instance's claim is not the GPU's, which may be another run's
                _restore_left(requested.gpu, directory, tell)
        stack.enter_context(_hangup_is_terminate())
        for requested in all_requested:
            if requested.settings:
                stack.enter_context(_held(requested, directory, tell))
        yield


@contextmanager
def _held(requested: RequestedDevice, directory: Path, tell: Tell) -> Iterator[None]:
    gpu = requested.gpu
    held = tuple(Held(kind, value, read_setting(gpu, kind)) for kind, value in requested.settings.items())
    journal = Journal(gpu.uuid, gpu.index, gpu.name, Owner.this_process(), held)
    begun: list[Held] = []
    try:
        save(journal, directory)
        for one, (kind, value) in zip(held, requested.settings.items(), strict=True):
            begun.append(one)  # before it is done: a signal may come right after
            try:
                write(gpu, kind, value)
            except GpuError:
                begun.remove(one)  # a call that is refused changes nothing
                raise
        tell("gpu_locked", {"gpu": gpu.index, "settings": dict(requested.settings), "previous": {one.kind: one.previous for one in held}})
        yield
    finally:
        with signals_wait():
            _put_back(gpu, replace(journal, held=tuple(begun)), directory, tell)


def restore_left_behind(gpus: Sequence[Gpu], directory: Path, tell: Tell) -> list[Journal]:
    """Put back what dead runs left on `gpus`; the journals of living ones, which are left alone. GpuError when it may not be done.

    Journals of other GPUs are none of this machine's: a home directory may be shared by many.
    """
    by_uuid = {gpu.uuid: gpu for gpu in gpus}
    living = []
    for journal in journals(directory):
        if journal.uuid not in by_uuid:
            continue
        try:
            with claim(journal.uuid, directory):
                _restore_left(by_uuid[journal.uuid], directory, tell)
        except ClaimedError:
            living.append(journal)
    return living


def _restore_left(gpu: Gpu, directory: Path, tell: Tell) -> None:
    """The claim is held, so the journal that is there is a dead run's."""
    journal = read(gpu.uuid, directory)
    if journal and not _put_back(gpu, journal, directory, tell):
        raise GpuError(
            f"GPU {gpu.index}: what {journal.owner} changed before it was killed could not all be put back: "
            "run `trtbench gpu restore` as the user who may, then try again"
        )


def _put_back(gpu: Gpu, journal: Journal, directory: Path, tell: Tell) -> bool:
    """Last set, first back; one that fails does not keep the others. What could not be put back stays in the journal."""
    left: list[Held] = []
    causes = []
    for one in reversed(journal.held):
        try:
            restore(gpu, one.kind, one.previous)
        except GpuError as error:
            left.insert(0, one)
            causes.append(str(error))
    if not left:
        drop(gpu.uuid, directory)
    else:
        with suppress(JournalError):  # the journal from before stands, and says more than is needed
            save(replace(journal, held=tuple(left)), directory)
    if back := {one.kind: one.previous for one in journal.held if one not in left}:
        tell("gpu_restored", {"gpu": gpu.index, "settings": back, "left_by": None if journal.owner.is_this_process else journal.owner.pid})
    if left:
        tell("gpu_not_restored", {"gpu": gpu.index, "cause": "; ".join(causes)})
    return not left


@contextmanager
def _hangup_is_terminate() -> Iterator[None]:
    def terminate(signum: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGTERM)

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        yield  # nohup, say
        return
    before = signal.signal(signal.SIGHUP, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
