"""Holds settings of GPUs while a `with` block runs, and restores the previous ones however the block ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from types import FrameType

from trtbench.gpu.inventory import Gpu, GpuError
from trtbench.gpu.journal import ClaimedError, Held, Journal, JournalError, Owner, claim, drop, journals, read, save
from trtbench.gpu.requested import RequestedDevice
from trtbench.gpu.settings import read as read_setting
from trtbench.gpu.settings import restore, write
from trtbench.rundir.event_kinds import EventData
from trtbench.rundir.gpu_events import GpuLocked, GpuNotRestored, GpuRestored
from trtbench.system.interrupts import signals_wait

Tell = Callable[[EventData], None]
"""Records an event."""


@contextmanager
def locked(all_requested: Sequence[RequestedDevice], directory: Path, tell: Tell) -> Iterator[None]:
    """Hold the requested settings while the block runs; settings that a killed run left are restored first.

    ClaimedError if another run holds one of the devices, GpuError if a setting is refused; then nothing is changed. While the block
    runs, SIGHUP, which a terminal sends when it closes, is treated as SIGTERM.
    """
    with ExitStack() as stack:
        for requested in all_requested:
            stack.enter_context(claim(requested.device.uuid, directory))
        for requested in all_requested:
            if requested.device is requested.gpu:  # the claim of a MIG instance is not one of its GPU, which another run may hold
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
            begun.append(one)  # before the change, because a signal may arrive right after it
            try:
                write(gpu, kind, value)
            except GpuError:
                begun.remove(one)  # a call that fails changes nothing
                raise
        settings = {str(kind): value for kind, value in requested.settings.items()}
        tell(GpuLocked(gpu=gpu.index, settings=settings, previous={str(one.kind): one.previous for one in held}))
        yield
    finally:
        with signals_wait():
            _put_back(gpu, replace(journal, held=tuple(begun)), directory, tell)


def restore_left_behind(gpus: Sequence[Gpu], directory: Path, tell: Tell) -> list[Journal]:
    """Restore the settings that killed runs left on `gpus`; returns the journals of runs that are alive, which are left alone.

    GpuError if this user may not restore them. Journals of other GPUs belong to other machines: several may share a home directory.
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
    """Restore what a killed run left. The caller has claimed the device, so a journal that exists belongs to a process that is gone."""
    journal = read(gpu.uuid, directory)
    if journal and not _put_back(gpu, journal, directory, tell):
        raise GpuError(
            f"GPU {gpu.index}: not every setting that {journal.owner} changed before it was killed could be restored: "
            "run `trtbench gpu restore` as a user who may change them, then try again"
        )


def _put_back(gpu: Gpu, journal: Journal, directory: Path, tell: Tell) -> bool:
    """Restore settings in the reverse order of their changes; returns whether all could be. Those that could not stay in the journal."""
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
        with suppress(JournalError):  # otherwise the previous journal stays, which lists more settings than necessary
            save(replace(journal, held=tuple(left)), directory)
    if back := {str(one.kind): one.previous for one in journal.held if one not in left}:
        tell(GpuRestored(gpu=gpu.index, settings=back, left_by=None if journal.owner.is_this_process else journal.owner.pid))
    if left:
        tell(GpuNotRestored(gpu=gpu.index, cause="; ".join(causes)))
    return not left


@contextmanager
def _hangup_is_terminate() -> Iterator[None]:
    def terminate(signum: int, frame: FrameType | None) -> None:
        signal.raise_signal(signal.SIGTERM)

    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        yield  # as under nohup
        return
    before = signal.signal(signal.SIGHUP, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGHUP, before)
