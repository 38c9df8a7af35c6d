"""The tiers of tests. `unit`: no process, no socket, no whole run, no drawing; a test of it that does one of these fails. `process`:
stand-ins as processes and servers, and whole run directories that are written, read, analysed or drawn. `triton`: the real server.
`vllm`: the real vLLM, whose tests get a longer time limit since one of them waits until it is ready.

A test is of the tier `process` by its marker, or by a fixture that starts something or makes a whole run; what says nothing is of the
tier `unit`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

TIERS = ("unit", "process", "triton", "vllm", "gpu")
_OF_PROCESSES = ("process", "browser", "tensorrt", "whole_run")
_OTHERS = {"unit": {*_OF_PROCESSES, "triton", "vllm", "gpu"}, "process": {"triton", "vllm", "gpu"}}
"""Markers of a module that leave no test in it for the tier."""
_STARTING = frozenset(
    {
        *("fake_driver", "fake_gpus", "fake_server", "start_fake_server", "start_fake_triton", "fake_triton"),
        *("engines", "installation", "node", "replay", "wheel"),
    }
)
"""Fixtures that start a process or open a socket."""
_OF_WHOLE_RUNS = frozenset({"synthetic", "summary", "figures_on_demand", "sketched_figures"})
"""Fixtures that make or analyse a whole run directory, and those for reports of one."""
_VLLM_TEST_S = 600

_REFUSED = frozenset(
    {
        *("subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec", "os.system"),
        *("socket.connect", "socket.bind", "socket.sendto"),
    }
)
_ALLOWED_PROGRAMS = frozenset({"fc-list"})
"""Matplotlib looks for fonts with it once a machine."""
_RUN_FILE = "/events.jsonl"
"""Each run directory has it, and nothing else has."""
_NO_PROCESS = "it starts no process and opens no socket; mark it `pytest.mark.process`, or give the code a stand-in"
_NO_WHOLE_RUN = "it opens no run directory and draws nothing; mark it `pytest.mark.whole_run`, or test the function on its own numbers"


def mark_tier(item: pytest.Item) -> None:
    """Adds the marker of its tier to a test."""
    if item.get_closest_marker("vllm") or "vllm_server" in getattr(item, "fixturenames", ()):
        item.add_marker("vllm")
        item.add_marker(pytest.mark.timeout(_VLLM_TEST_S))
    if any(map(item.get_closest_marker, ("triton", "vllm", "gpu"))):
        return
    needs = (_STARTING | _OF_WHOLE_RUNS).intersection(getattr(item, "fixturenames", ()))
    item.add_marker("process" if needs or any(map(item.get_closest_marker, _OF_PROCESSES)) else "unit")


def tier_of(item: pytest.Item) -> int:
    """The place in TIERS of a test's tier."""
    return max(TIERS.index(marker.name) for marker in item.iter_markers() if marker.name in TIERS)


def holds_no_test_of(tier: str, module: Path) -> bool:
    """Whether a module's own marker, the first of its `pytestmark`, puts all its tests into other tiers: it need not be imported then."""
    found = re.search(r"^pytestmark = \[?\s*pytest\.mark\.(\w+)", module.read_text(encoding="utf-8"), re.MULTILINE)
    return found is not None and found[1] in _OTHERS.get(tier, ())


class UnitGuard:
    """Refuses what a test of the tier `unit` may not do, while one runs. An audit hook stays until the interpreter ends."""

    def __init__(self) -> None:
        self.watching = False
        self._guards_figures = False
        sys.addaudithook(self._on_event)

    @contextmanager
    def over(self, item: pytest.Item) -> Iterator[None]:
        if not self._guards_figures and "matplotlib.figure" in sys.modules:
            self._guard_figures()
        self.watching = item.get_closest_marker("unit") is not None
        try:
            yield
        finally:
            self.watching = False

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.watching:
            return
        if event == "open" and str(arguments[0]).endswith(_RUN_FILE):
            _refuse(f"opens {arguments[0]}", _NO_WHOLE_RUN)
        if event in _REFUSED and not (event == "subprocess.Popen" and _program(arguments) in _ALLOWED_PROGRAMS):
            _refuse(f"raises the audit event {event} ({str(arguments[:2])[:200]})", _NO_PROCESS)

    def _guard_figures(self) -> None:
        from matplotlib.figure import Figure  # is imported already

        save = Figure.savefig

        def guarded(figure: Figure, *arguments: Any, **more: Any) -> None:
            if self.watching:
                _refuse("draws a figure", _NO_WHOLE_RUN)
            save(figure, *arguments, **more)

        Figure.savefig = guarded  # type: ignore[method-assign]
        self._guards_figures = True


def _refuse(what: str, rule: str) -> NoReturn:
    pytest.fail(f"a test of the tier `unit` {what}: {rule}")


def _program(arguments: tuple[Any, ...]) -> str:
    executable, command = arguments[:2]
    return Path(str(executable or command[0])).name
