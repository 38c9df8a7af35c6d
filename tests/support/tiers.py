"""The tiers of tests. `unit`: no process, no socket; a test of it that starts one fails. `process`: stand-ins as processes and servers.
`triton`: the real server. `vllm`: the real vLLM, whose tests get a longer time limit since one of them waits until it is ready.

A test is of the tier `process` by its marker or by a fixture that starts something; what says nothing is of the tier `unit`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

TIERS = ("unit", "process", "triton", "vllm", "gpu")
_OF_PROCESSES = ("process", "browser", "tensorrt")
_OTHERS = {"unit": {*_OF_PROCESSES, "triton", "gpu"}, "process": {"triton", "gpu"}}
"""Markers of a module that leave no test in it for the tier."""
_STARTING = frozenset(
    {
        *("fake_driver", "fake_gpus", "fake_server", "start_fake_server", "start_fake_triton", "fake_triton"),
        *("engines", "installation", "node", "replay", "wheel"),
    }
)
"""Fixtures that start a process or open a socket."""
_VLLM_TEST_S = 600

_REFUSED = frozenset(
    {
        *("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"),
        *("socket.connect", "socket.bind", "socket.sendto"),
    }
)
_ALLOWED_PROGRAMS = frozenset({"fc-list"})
"""Matplotlib looks for fonts with it once a machine."""
_MESSAGE = (
    "a test of the tier `unit` raises the audit event {event} ({detail}): it starts no process and opens no socket; "
    "mark it `pytest.mark.process`, or give the code a stand-in"
)


def mark_tier(item: pytest.Item) -> None:
    """Adds the marker of its tier to a test."""
    if item.get_closest_marker("vllm") or "vllm_server" in getattr(item, "fixturenames", ()):
        item.add_marker("vllm")
        item.add_marker(pytest.mark.timeout(_VLLM_TEST_S))
    if any(map(item.get_closest_marker, ("triton", "vllm", "gpu"))):
        return
    starts = _STARTING.intersection(getattr(item, "fixturenames", ()))
    item.add_marker("process" if starts or any(map(item.get_closest_marker, _OF_PROCESSES)) else "unit")


def holds_no_test_of(tier: str, module: Path) -> bool:
    """Whether a module's own marker, the first of its `pytestmark`, puts all its tests into other tiers: it need not be imported then."""
    found = re.search(r"^pytestmark = \[?\s*pytest\.mark\.(\w+)", module.read_text(encoding="utf-8"), re.MULTILINE)
    return found is not None and found[1] in _OTHERS.get(tier, ())


class UnitGuard:
    """Refuses what a test of the tier `unit` may not do, while one runs. An audit hook stays until the interpreter ends."""

    def __init__(self) -> None:
        self.watching = False
        sys.addaudithook(self._hear)

    @contextmanager
    def over(self, item: pytest.Item) -> Iterator[None]:
        self.watching = item.get_closest_marker("unit") is not None
        try:
            yield
        finally:
            self.watching = False

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.watching and event in _REFUSED and not (event == "subprocess.Popen" and _program(arguments) in _ALLOWED_PROGRAMS):
            pytest.fail(_MESSAGE.format(event=event, detail=str(arguments[:2])[:200]))


def _program(arguments: tuple[Any, ...]) -> str:
    executable, command = arguments[:2]
    return Path(str(executable or command[0])).name
