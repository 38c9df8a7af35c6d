"""The journal of GPU settings: the previous values, on disk before any is changed. If a run is killed, the next command restores them.

A run claims a device by a file lock, which the kernel releases when the process ends in any way; so whether the owner of a journal is
alive does not have to be guessed from a pid. The journal, next to the lock, has the previous values and the process that changed them.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import psutil

from trtbench.errors import UserError
from trtbench.system.clock import sleep_s

Kind = Literal["persistence_mode", "compute_mode", "power_limit_mw", "memory_clock_mhz", "sm_clock_mhz"]
_UUID = re.compile(r"[A-Za-z0-9-]{1,80}")
_TRIES, _PAUSE_S = 10, 0.05  # a command that only checks a device holds its claim for a shorter time


class ClaimedError(UserError):
    """Another process holds the device; the message names it."""


class JournalError(UserError):
    """A journal cannot be read or written."""


@dataclass(frozen=True)
class Owner:
    pid: int
    started_s: float  # since the epoch, as psutil reports it: together with the pid it identifies one process
    command: str

    @classmethod
    def this_process(cls) -> Owner:
        process = psutil.Process()
        return cls(process.pid, process.create_time(), " ".join(process.cmdline())[:200])

    @property
    def is_this_process(self) -> bool:
        return self == Owner.this_process()

    def __str__(self) -> str:
        return f"process {self.pid} ({self.command})"


@dataclass(frozen=True)
class Held:
    """A setting that a run changes: the requested value and the previous one, which is None where NVML does not report it."""

    kind: Kind
    asked: int | str | None
    previous: int | str | None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"the setting {self.kind!r} is unknown to this version")


@dataclass(frozen=True)
class Journal:
    uuid: str
    index: int
    name: str
    owner: Owner
    held: tuple[Held, ...]

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Journal:
        return cls(row["uuid"], row["index"], row["name"], Owner(**row["owner"]), tuple(Held(**one) for one in row["held"]))


def state_directory() -> Path:
    """`trtbench/gpu` in $XDG_STATE_HOME if that is an absolute path, else in ~/.local/state.

    JournalError if this user has no home directory, such as a user id without HOME and without an entry in /etc/passwd."""
    given = Path(os.environ.get("XDG_STATE_HOME", ""))
    try:
        return (given if given.is_absolute() else Path.home() / ".local" / "state") / "trtbench" / "gpu"
    except RuntimeError as error:
        raise JournalError(
            "this user has no home directory to keep GPU settings in: set XDG_STATE_HOME to an absolute path that can be written"
        ) from error


@contextmanager
def claim(uuid: str, directory: Path) -> Iterator[None]:
    """Make this process the only one of trtbench that uses the device, while the block runs.

    ClaimedError if another process has claimed it, JournalError if the lock cannot be written."""
    path = _path(directory, uuid, ".lock")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise JournalError(
            f"{path} cannot be written ({error.strerror}): GPU settings are not changed without it; set XDG_STATE_HOME"
        ) from error
    try:
        _lock(descriptor, uuid, directory)
        yield
    finally:
        os.close(descriptor)  # releases the lock


def _lock(descriptor: int, uuid: str, directory: Path) -> None:
    for attempt in range(_TRIES):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if attempt == _TRIES - 1:
                journal = read(uuid, directory)
                holder = str(journal.owner) if journal else "another trtbench"
                raise ClaimedError(
                    f"{uuid} is held by {holder}: wait for it to end, or stop it (it restores the GPU's settings)"
                ) from error
            sleep_s(_PAUSE_S)
        else:
            return


def is_claimed(uuid: str, directory: Path) -> bool:
    """Whether a process that is alive holds the device."""
    try:
        with claim(uuid, directory):
            return False
    except ClaimedError:
        return True


def save(journal: Journal, directory: Path) -> None:
    """Write the journal. The file and its name are on disk when this returns. The caller has claimed the device."""
    path = _path(directory, journal.uuid, ".json")
    new = path.with_suffix(".new")
    try:
        with new.open("w", encoding="utf-8") as file:
            json.dump(journal.to_json(), file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
        _sync(directory)
    except OSError as error:
        raise JournalError(f"{path} cannot be written ({error.strerror}): GPU settings are not changed without it") from error


def read(uuid: str, directory: Path) -> Journal | None:
    """The journal of a device, or None if it has none; JournalError if it is damaged."""
    path = _path(directory, uuid, ".json")
    try:
        return Journal.from_json(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise JournalError(f"{path} cannot be read ({error}): restore the GPU's settings with nvidia-smi, then remove the file") from error


def drop(uuid: str, directory: Path) -> None:
    _path(directory, uuid, ".json").unlink(missing_ok=True)
    _sync(directory)


def journals(directory: Path) -> list[Journal]:
    """The journals of all devices, whether their owners are alive or not."""
    return [found for path in sorted(directory.glob("*.json")) if (found := read(path.stem, directory))]


def _path(directory: Path, uuid: str, suffix: str) -> Path:
    if not _UUID.fullmatch(uuid):
        raise JournalError(f"{uuid!r} is not the UUID of a GPU")
    return directory / f"{uuid}{suffix}"


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
