"""ReplayProcess: a replay server in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from types import TracebackType

from trtbench.system.interrupts import signals_wait

_STOP_S = 5.0


class ReplayProcess:
    """A context manager; `url` is host:port. The server ends with us, however we end."""

    def __enter__(self) -> ReplayProcess:
        command = [sys.executable, "-m", "trtbench.self_test.replay"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self._process.stdout
        port = self._process.stdout.readline().strip()
        if not port:
            raise RuntimeError(f"the replay server ended with exit code {self._process.wait()} before it served")
        self.url = f"127.0.0.1:{port}"
        self.pid = self._process.pid
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        assert self._process.stdin and self._process.stdout
        with signals_wait():
            self._process.stdin.close()
            try:
                self._process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process.stdout.close()
