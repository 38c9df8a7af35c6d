"""The `trtbench` command in a process of its own, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil

OF_A_BUSY_MACHINE = frozenset({"send_lag", "coalesced"})
"""Reasons of an INVALID verdict that a machine gives which is busy with something else: requests sent late, responses read late."""
ROOT = Path(__file__).parents[2]
"""The checkout: built engines are looked for below the working directory."""
WITHOUT_FIGURES = "tests.support.without_figures"
"""The module that is run in place of `trtbench`, from ROOT, where no test looks at the figures of the report."""

PATIENCE_S = 60.0


def ran(code: int, directory: Path) -> bool:
    """Whether the runs below `directory` came to their end: exit code 0, or 4 for a verdict that is INVALID by a busy machine alone."""
    if code != 4:
        return code == 0
    summaries = [json.loads(path.read_text(encoding="utf-8")) for path in directory.rglob("summary.json")]
    reasons = [reason for summary in summaries for reason in summary["verdict"]["reasons"] if reason["grade"] == "invalid"]
    return bool(reasons) and {reason["code"] for reason in reasons} <= OF_A_BUSY_MACHINE


class Command:
    """A running `trtbench`; everything it writes, its temporary files too, lies below `directory`, which its children's names show.
    Its reports have no figures unless `draws` is set.
    """

    def __init__(self, directory: Path, *arguments: str, draws: bool = False) -> None:
        self.directory = directory
        self.temporary = directory / "temporary"
        self.temporary.mkdir(parents=True, exist_ok=True)
        self._out, self._err = (directory / name for name in ("stdout", "stderr"))
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "trtbench" if draws else WITHOUT_FIGURES, *arguments],
                cwd=ROOT,
                env=os.environ | {"TMPDIR": str(self.temporary)},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    def interrupt(self, signum: int = signal.SIGINT) -> None:
        """As a terminal does: to the whole foreground process group."""
        os.killpg(self.process.pid, signum)

    def wait(self, timeout_s: float = PATIENCE_S) -> int:
        """The exit code; a command that hangs is killed and fails the test."""
        try:
            return self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"trtbench did not end:\n{self.out}\n{self.err}") from None

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = PATIENCE_S) -> None:
        deadline = time.monotonic() + timeout_s
        while not condition():
            assert self.process.poll() is None, f"trtbench ended by itself:\n{self.out}\n{self.err}"
            assert time.monotonic() < deadline, f"it never came to it:\n{self.out}\n{self.err}"
            time.sleep(0.02)

    def children(self, name: str = "") -> list[psutil.Process]:
        """Processes, whoever their parent is now, that work on this command's files: Triton, its stubs, the guard, the sampler."""
        found = []
        for process in psutil.process_iter(["cmdline", "name"]):
            if process.pid in (self.process.pid, os.getpid()):
                continue
            if str(self.directory) in " ".join(process.info["cmdline"] or []) and name in (process.info["name"] or ""):
                found.append(process)
        return found

    def assert_nothing_left(self, but_files: bool = False) -> None:
        """No process, no shared memory, no temporary file; what dies of its own accord gets a moment.

        `but_files`: of a command that was killed, whose files the next one removes.
        """
        deadline = time.monotonic() + 20
        while (left := self.children()) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not left
        assert not list(Path("/dev/shm").glob(f"trtbench_*-{self.process.pid}-*"))
        assert but_files or not list(self.temporary.iterdir())

    def end(self) -> None:
        """For a fixture's end: whatever became of the test, nothing goes on."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
