"""ServerProcess: the supervised process of a server that trtbench starts, whatever kind of server it is."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

from trtbench.serving.server.autopsy import Death, examine
from trtbench.system.interrupts import signals_wait
from trtbench.system.memory import oom_kills
from trtbench.system.supervised import Supervised


class ServerProcess:
    """A process with its output in `log`. A kind of server starts it on entry of a `with` block; it is gone after exit."""

    def __init__(self, log: Path) -> None:
        self.log = log
        self._oom_kills = oom_kills()
        self._process: Supervised | None = None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The root of the server's process tree, which is its supervisor."""
        assert self._process is not None
        return self._process.pid

    def exit_code(self) -> int | None:
        """The server's exit code, 128 + n if signal n ended it; None while it runs."""
        return self._process.exit_code() if self._process else None

    def death(self) -> Death | None:
        """The end of the server and its cause; None while it runs."""
        exit_code = self.exit_code()
        return None if exit_code is None else examine(self.log, exit_code, oom_kills().since(self._oom_kills))

    def port_was_taken(self) -> bool:
        """Whether the log says that another program had taken a port that was free when it was chosen."""
        return b"Address already in use" in self.log.read_bytes()

    def stop(self) -> None:
        """End the server and all processes that it started, and wait for that. A second call does nothing."""
        with signals_wait():
            if self._process:
                self._process.stop()
