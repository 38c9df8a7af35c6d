"""Removal of what killed processes of trtbench left: temporary directories, shared memory and servers.

Each of these carries the name of its owner, the process that made it, as machine-pid-start; the next command removes what belongs to an
owner that is gone. `machine` identifies the boot and the process namespace. Processes of another container, or of another host with the
same file system, cannot be seen from here, so their files are left alone.
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
"""The environment variable that holds the owner's name in every process that a supervisor runs."""

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108 - where shm_open makes its files
_NAME = re.compile(r"(?:trtbench[-_]|\.building-|\.fetching-|\.making-)([0-9a-f]{8}-\d+-\d+)[-_]")
_GUARD = Path(__file__).with_name("supervisor.py")
_SUPERVISORS_S = 14.0  # longer than a supervisor needs to end its server
_POLL_S = 0.05
_used: set[Path] = set()


def owner() -> str:
    """The name of this process as an owner."""
    return _owner(os.getpid())


def temporary_directory(kind: str = "trtbench-", beside: Path | None = None) -> tempfile.TemporaryDirectory[str]:
    """A temporary directory in TMPDIR, or in the directory `beside`."""
    _used.add(beside or Path(tempfile.gettempdir()))
    return tempfile.TemporaryDirectory(prefix=f"{kind}{owner()}-", dir=beside, ignore_cleanup_errors=True)


def own_path(place: Path, kind: str, name: str) -> Path:
    """A path in `place` that no other process uses; the caller creates and removes it."""
    _used.add(place)
    return place / f"{kind}{owner()}-{name}"


def shared_memory_prefix(name: str) -> str:
    return f"trtbench_{owner()}_{name}_"


def sweep() -> None:
    """Remove what owners that are gone left in TMPDIR and shared memory, and end the processes that they started."""
    places = (Path(tempfile.gettempdir()), SHARED_MEMORY)
    gone = {name for place in places for name, _ in _abandoned(place)}
    if gone:
        _end_processes(gone)
        for place in places:
            sweep_directory(place)


def sweep_directory(place: Path) -> None:
    """Remove what owners that are gone left in one directory."""
    for _, path in list(_abandoned(place)):
        _remove(path)


def remove_own() -> None:
    """Remove what this process made and an interrupt kept it from removing."""
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
    """(Owner, path) of everything in a directory that a process of trtbench made for this user."""
    with suppress(OSError), os.scandir(place) as entries:
        for entry in entries:
            found = _NAME.match(entry.name)
            with suppress(OSError):
                if found and entry.stat(follow_symlinks=False).st_uid == os.getuid():
                    yield found[1], Path(entry.path)


def _abandoned(place: Path) -> Iterator[tuple[str, Path]]:
    return ((name, path) for name, path in _owned(place) if not _lives(name))


def _lives(name: str) -> bool:
    """Whether an owner runs. An owner that cannot be seen from here counts as running."""
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
    """The start of the process, in the kernel's ticks since the boot; None if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()  # the name, in brackets, may contain brackets
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else fields[19].decode()


def _end_processes(owners: set[str]) -> None:
    """Wait until the supervisors of `owners` have ended their commands, then kill what is left or has no supervisor any more."""
    deadline = time.monotonic() + _SUPERVISORS_S
    while any(_is_supervisor(pid) for pid in _processes(owners)) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    for pid in _processes(owners):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _processes(owners: set[str]) -> list[int]:
    """Processes of this user that one of `owners` started under a supervisor."""
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
