"""Supervised: a program that ends with us, however we end."""

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
    """`command` under supervisor.py, started at once, its output in `log`, after what is there with `append`.

    What it leaves in /dev/shm under `shm_prefix` is removed; nothing for an empty one. `directory`: its working directory; default: ours.
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
        """Root of its process tree (the supervisor's)."""
        return self._supervisor.pid

    def exit_code(self) -> int | None:
        """None while it runs; 128 + n when signal n ended it."""
        return self._supervisor.poll()

    def wait(self) -> int:
        """Its exit code, 128 + n when signal n ended it; returns when all that it started is gone too."""
        return self._supervisor.wait()

    def stop(self) -> None:
        """End it and all it started; returns when they are gone. Safe to call twice."""
        assert self._supervisor.stdin
        with signals_wait():
            self._supervisor.stdin.close()
            try:
                self._supervisor.wait(STOP_GRACE_S + 4)
            except subprocess.TimeoutExpired:
                os.killpg(self._supervisor.pid, signal.SIGKILL)
                self._supervisor.wait()
