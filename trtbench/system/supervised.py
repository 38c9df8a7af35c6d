"""A child program that ends when this process ends, however this process ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from trtbench.system import supervisor
from trtbench.system.interrupts import signals_wait
from trtbench.system.leftovers import OWNER, owner

STOP_GRACE_S = 8.0


class Supervised:
    """`command`, started at once as a child of `supervisor.py`, with its output in the file `log` (at its end if `append` is set).

    Files that it leaves in /dev/shm under names that begin with `shm_prefix` are removed; an empty prefix removes none. `directory` is
    its working directory, by default that of this process.
    """

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        shm_prefix: str = "",
        append: bool = False,
        directory: Path | None = None,
    ) -> None:
        with signals_wait(), log.open("ab" if append else "wb") as output:
            self._supervisor = subprocess.Popen(
                [sys.executable, "-I", supervisor.__file__, str(STOP_GRACE_S), shm_prefix, *command],
                env=dict(environment) | {OWNER: owner()},
                cwd=directory,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The root of its process tree, which is the supervisor."""
        return self._supervisor.pid

    def exit_code(self) -> int | None:
        """Its exit code, 128 + n if signal n ended it; None while it runs."""
        return self._supervisor.poll()

    def wait(self) -> int:
        """Wait for the program and all processes that it started to end; returns its exit code, 128 + n if signal n ended it."""
        return self._supervisor.wait()

    def stop(self) -> None:
        """End the program and all processes that it started, and wait for that. A second call does nothing."""
        assert self._supervisor.stdin
        with signals_wait():
            self._supervisor.stdin.close()
            try:
                self._supervisor.wait(STOP_GRACE_S + 4)
            except subprocess.TimeoutExpired:
                os.killpg(self._supervisor.pid, signal.SIGKILL)
                self._supervisor.wait()
