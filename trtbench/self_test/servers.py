"""The servers of a calibration: a replay server in its own process, a Triton that is started for it, or a Triton that runs already."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

from trtbench.client.protocol import Target, TargetError
from trtbench.client.registry import TRITON_CLIENT
from trtbench.self_test.answer import DIRECTORY, MODEL
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.server import TritonServer
from trtbench.system.interrupts import signals_wait
from trtbench.system.leftovers import temporary_directory

_STOP_S = 5.0


class ReplayProcess:
    """A replay server, as a context manager; `url` is host:port. The server ends when this process ends."""

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


@contextmanager
def calibration_triton(installation: TritonInstallation) -> Iterator[TritonServer]:
    """A Triton that serves only the calibration model; ServerError if it does not start."""
    with temporary_directory() as directory:
        repository = Path(directory) / "model_repository"
        shutil.copytree(DIRECTORY, repository / MODEL, ignore=shutil.ignore_patterns("__pycache__"))
        flags = ("--disable-auto-complete-config",)
        with TritonServer(installation, repository, Path(directory) / "server.log", flags) as server:
            yield server


def running_target(url: str) -> Target:
    """The calibration model of a server that runs already; TargetError with the remedy if the server does not have it."""
    try:
        return TRITON_CLIENT.inspect(url, MODEL)
    except TargetError as error:
        remedy = f"the server under --url must serve the calibration model: copy {DIRECTORY} into its model repository and load it"
        raise TargetError(f"{error}\n{remedy}") from error
