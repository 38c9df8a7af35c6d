"""JSON lines, which are appended and flushed during a run, whole JSON files, and the losses in reading them."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from trtbench.errors import UserError, naming
from trtbench.rundir.records import Sample

_MOST_LINE_BYTES = 256 << 20
_MOST_JSON_BYTES = 64 << 20
_TEMPORARY_CHARACTERS = 100  # of a file's name in that of its temporary file


What = Literal["missing", "unreadable", "lines", "torn", "rows", "values", "events", "columns", "foreign", "foreign_samples"]
"""Kinds of losses. missing, unreadable: a whole file. lines: lines of a JSON-lines file that are not JSON. torn: an incomplete last line,
as a kill leaves it. rows: records that contradict themselves or lack a required value. values: values in rows that are kept, a number
beyond 64 bits (replaced by the nearest) or a wrong type (left empty). events: events without the data of their kind. columns: required
columns that a file of requests has had since format 1. foreign, foreign_samples: requests that were sent, and samples that were taken,
while the deployment did not run.
"""

_WHY_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Loss:
    """One loss. `file` is relative to the run directory; `why` is the reader's message about the first occurrence."""

    file: str
    what: What
    count: int
    why: str


class Losses:
    """The losses of one run directory. A file that is read again replaces its earlier count."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._found: dict[tuple[str, What], Loss] = {}

    def __iter__(self) -> Iterator[Loss]:
        return iter(sorted(self._found.values(), key=lambda loss: (loss.file, loss.what)))

    def note(self, path: Path, what: What, count: int = 1, why: object = "") -> None:
        file = str(path.relative_to(self._root)) if path.is_relative_to(self._root) else path.name
        self._found[file, what] = Loss(file, what, count, " ".join(str(why).split())[:_WHY_CHARACTERS])


class RunDirectoryError(UserError):
    """A directory that is not a run directory, has a format that this version cannot read, or lacks an indispensable file."""


class LineWriter:
    """Appends JSON lines, each in one write, so that processes may share a file, and a kill loses at most the line being written."""

    def __init__(self, path: Path) -> None:
        self._path, self._torn = path, False
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

    def write(self, *rows: Any) -> None:
        """Append a line. OSError, which names the file, if it is not written completely; the next line does not continue an incomplete
        one.
        """
        lines = "".join(json.dumps(row, separators=(",", ":")) + "\n" for row in rows).encode()
        left = memoryview(b"\n" + lines if self._torn else lines)
        with naming(self._path):
            while left:
                written = os.write(self._fd, left)
                left, self._torn = left[written:], written < len(left)

    def lock(self) -> None:
        """Lock the file until this process ends or closes it; BlockingIOError if another process holds the lock."""
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        os.close(self._fd)


def read_lines(path: Path, losses: Losses | None = None) -> Iterator[Any]:
    """The JSON values of a JSON-lines file; none if there is no file. An incomplete last line is dropped.

    A line that is not JSON is left out and counted in `losses`; without `losses` it raises RunDirectoryError with its number. The part of a
    line beyond 256 MiB is dropped like an incomplete line. OSError if the path is not a file.
    """
    if not path.exists():
        return
    bad, first = 0, ""
    with regular(path).open("rb") as lines:
        for number, line in enumerate(iter(lambda: lines.readline(_MOST_LINE_BYTES), b""), 1):
            if not line.endswith(b"\n"):
                if losses is not None:
                    losses.note(path, "torn", 1, f"line {number}")
                break
            try:
                value = json.loads(line)
            except (ValueError, RecursionError) as error:  # bad UTF-8 is a ValueError too
                if losses is None:
                    raise RunDirectoryError(f"{path}, line {number} is not JSON ({error}): the file is damaged") from error
                bad, first = bad + 1, first or f"line {number}: {error}"
                continue
            yield value
    if bad and losses is not None:
        losses.note(path, "lines", bad, first)


def sample_row(sample: Sample) -> list[Any]:
    """A sample as its line in samples.jsonl: [time_ns, name, label, value]."""
    return [sample.time_ns, sample.name, sample.label, sample.value]


def write_json(path: Path, value: Any) -> None:
    """Write and rename, so that a reader sees the complete file or none."""
    write_whole(path, (json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that appears only when it is complete; an OSError names it, and no part of it is left.

    A link leads to the file that is written. A device or a pipe is written to, because a file in its place would destroy it.
    """
    target = path.resolve()
    temporary = target.with_name(f".{target.name[:_TEMPORARY_CHARACTERS]}.{secrets.token_hex(4)}.tmp")
    try:
        with _named_as(path):
            if target.exists() and not target.is_file():
                target.write_bytes(content)
                return
            with temporary.open("xb") as file:
                file.write(content)
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _named_as(path: Path) -> Iterator[None]:
    """An OSError of the block names `path` in place of a temporary file."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno or 0, error.strerror or str(error), str(path)) from error


def read_json(path: Path) -> Any:
    """The value of a JSON file of at most 64 MiB; OSError or ValueError for anything else."""
    with regular(path).open("rb") as file:
        content = file.read(_MOST_JSON_BYTES + 1)
    if len(content) > _MOST_JSON_BYTES:
        raise ValueError(f"over {_MOST_JSON_BYTES >> 20} MiB")
    return json.loads(content.decode())


def regular(path: Path) -> Path:
    """The path itself; OSError unless it leads to a regular file, because a pipe or a device may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return path
