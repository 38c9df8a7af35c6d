"""Why a server died or a model did not load: the probable cause, from the exit code and the log."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from pathlib import Path

LAST_LINES = 15
_LINE_CHARACTERS = 400

_CAUSES = (
    (r"libpython\S+: cannot open shared object", "Triton's Python stub found no libpython", "install this Python's shared library"),
    (r"[Aa]ddress already in use", "a port was taken by another program", "start again: ports are chosen free each time"),
    (r"No space left on device", "the disk, or /dev/shm, is full", "free space; in a container raise --shm-size"),
    (r"Unable to (initialize|create) shared memory|Failed to initialize shared memory", "shared memory is too small", "raise --shm-size"),
    (r"std::bad_alloc|MemoryError|CUDA out of memory|out of memory", "memory ran out", "lower kv_cache or instances"),
    (r"ModuleNotFoundError: No module named '([\w.]+)'", "the model misses a Python package", "`make setup` installs the pinned ones"),
    (
        r"Poll failed for model directory '[^']+': (.{0,300})\"",
        "Triton refuses the model's configuration",
        "change the deployment's settings",
    ),
    (r"failed to load '[^']+' version \d+: (.{0,300})", "the model did not load", "see the reason in the log"),
    (r"Unexpected argument|unrecognized option", "Triton does not know one of the flags", "use a Triton of 24.10 or later"),
    (r"error: creating server: (.{0,300})", "Triton could not start", "see the reason in the log"),
)


@dataclass(frozen=True)
class Death:
    """`exit_code` is 128 + n when signal n ended it, None while the process still runs."""

    exit_code: int | None
    cause: str
    log: Path
    log_tail: str

    def __str__(self) -> str:
        indented = "\n".join(f"  {line}" for line in self.log_tail.splitlines())
        return f"{self.cause}\nLast lines of {self.log}:\n{indented}"


def examine(log: Path, exit_code: int | None) -> Death:
    """How it ended and why, with the remedy."""
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    tail = "\n".join(line[:_LINE_CHARACTERS] for line in text.rstrip().splitlines()[-LAST_LINES:])
    return Death(exit_code, f"{_ending(exit_code)}. {_cause(text, exit_code)}", log, tail)


def _ending(exit_code: int | None) -> str:
    if exit_code is None:
        return "It is still running"
    if exit_code <= 128:
        return f"Exit code {exit_code}"
    try:
        return f"Ended by {signal.Signals(exit_code - 128).name}"
    except ValueError:
        return f"Exit code {exit_code}"


def _cause(text: str, exit_code: int | None) -> str:
    for pattern, cause, remedy in _CAUSES:
        if match := re.search(pattern, text):
            detail = f" ({match.group(1).strip()})" if match.groups() and match.group(1) else ""
            return f"Probable cause: {cause}{detail}; {remedy}."
    if exit_code == 128 + signal.SIGKILL:
        return "Probable cause: killed from outside, or by the kernel for want of memory; `dmesg` tells."
    return "The log names no cause that trtbench knows."
