"""Temporary directories, shared memory and servers carry the name of the process that made them; what it leaves when it is killed is
removed by the next command.

The name is machine-pid-start. `machine` stands for the boot and the process namespace: of another container's processes, or of another
host's on a shared file system, nothing is known here, so what they made is left alone.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

OWNER = "TRTBENCH_OWNER"
"""The environment variable that names the owner to all that a supervisor runs."""

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where shm_open makes its files
_NAME = re.compile(r"(?:trtbench[-_]|\.building-|\.fetching-|\.making-)([0-9a-f]{8}-\d+-\d+)[-_]")
_GUARD = Path(__file__).with_name("supervisor.py")
_SUPERVISORS_S = 14.0  # longer than a supervisor takes to end its server
_POLL_S = 0.05
_used: set[Path] = set()


def owner() -> str:
    """This process."""
    return _owner(os.getpid())


def temporary_directory(kind: str = "trtbench-", beside: Path | None = None) -> tempfile.TemporaryDirectory[str]:
    """In TMPDIR, or in a directory that is there."""
    _used.add(beside or Path(tempfile.gettempdir()))
    return tempfile.TemporaryDirectory(prefix=f"{kind}{owner()}-", dir=beside, ignore_cleanup_errors=True)


def own_path(place: Path, kind: str, name: str) -> Path:
    """A path in `place` that nobody else uses; the caller makes it and takes it away."""
    _used.add(place)
    return place / f"{kind}{owner()}-{name}"


def shared_memory_prefix(name: str) -> str:
    return f"trtbench_{owner()}_{name}_"


def sweep() -> None:
    """Remove from TMPDIR and shared memory what owners that are gone left there, and end what they started."""
    places = (Path(tempfile.gettempdir()), SHARED_MEMORY)
    gone = {name for place in places for name, _ in _abandoned(place)}
    if gone:
        _end_processes(gone)
        for place in places:
            sweep_directory(place)


def sweep_directory(place: Path) -> None:
    """Remove from one directory what owners that are gone left there."""
    for _, path in list(_abandoned(place)):
        _remove(path)


def remove_own() -> None:
    """What an interrupt in the wrong instant may have left of this process."""
    for place in (*_used, SHARED_MEMORY):
        for name, path in list(_owned(place)):
            if name == owner():
                _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _owned(place: Path) -> Iterator[tuple[str, Path]]:
    """(Owner, path) of everything of ours in a directory that belongs to this user."""
    with suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            found = _NAME.match(entry.name)
            with suppress(OSError):
                if found and entry.stat(follow_symlinks=False).st_uid == os.getuid():
                    yield found[1], Path(entry.path)


def _abandoned(place: Path) -> Iterator[tuple[str, Path]]:
    return ((name, path) for name, path in _owned(place) if not _lives(name))


def _lives(name: str) -> bool:
    """Whether an owner runs, or cannot be seen from here."""
    machine, pid, start = name.split("-")
    return machine != _machine() or _start(int(pid)) == start


@cache
def _owner(pid: int) -> str:
    return f"{_machine()}-{pid}-{_start(pid)}"


@cache
def _machine() -> str:
    boot = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    return hashlib.sha256(boot + bytes(Path("/proc/self/ns/pid").readlink())).hexdigest()[:8]


def _start(pid: int) -> str | None:
    """When the process started, in the kernel's ticks since the boot; None for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()  # the name, in brackets, may hold anything
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def _end_processes(owners: set[str]) -> None:
    """A supervisor ends what it runs when its owner is gone; what is left after that, or has no supervisor any more, is killed."""
    deadline = time.monotonic() + _SUPERVISORS_S
    while any(_is_supervisor(pid) for pid in _processes(owners)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    for pid in _processes(owners):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _processes(owners: set[str]) -> list[int]:
    """Of this user, started under a supervisor by one of `owners`."""
    marks = {f"{OWNER}={name}".encode() for name in owners}
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if process.stat().st_uid == os.getuid() and marks & set((process / "environ").read_bytes().split(b"\0")):
                found.append(int(process.name))
    return found


def _is_supervisor(pid: int) -> bool:
    with suppress(OSError):
        return bytes(_GUARD) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:4]
    return False
