"""VllmServer: a running `vllm serve`, as a context manager: it is ready on entry and gone after exit, whatever happens between."""

from __future__ import annotations

import http.client
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import MappingProxyType

from trtbench.engine.vllm_installation import VllmInstallation
from trtbench.serving.server.autopsy import examine
from trtbench.serving.server.launch import DIRECT, Launch
from trtbench.serving.server.server import LOOPBACK, TRIES, Endpoints, ServerError, free_ports
from trtbench.serving.server.server_process import ServerProcess
from trtbench.system.clock import NS_PER_S, now_ns, seconds_ns, sleep_s
from trtbench.system.supervised import Supervised

_POLL_S = 0.1
_ENVIRONMENT = {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1"}
_EAGER = "--enforce-eager"
"""Without it, the CPU build would compile the model by the machine's C++ compiler, which takes minutes."""


class VllmServer(ServerProcess):
    """Serves a checkpoint on loopback; a context manager.

    Of `ports` the second is used, that of HTTP, which has the metrics too; a free one is chosen for 0. `variables` are added to its
    environment. ServerError, with the last lines of the log, if it dies or is not ready within the time of the launch.
    """

    def __init__(
        self,
        installation: VllmInstallation,
        checkpoint: Path,
        log: Path,
        flags: Sequence[str] = (),
        ports: tuple[int, int, int] = (0, 0, 0),
        launch: Launch = DIRECT,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(log)
        self._launch = launch
        self._environment = {**os.environ, **_ENVIRONMENT, **launch.environment, **variables}
        self._asked_port = ports[1]
        eager = (_EAGER,) if installation.computes_on_cpu else ()
        self._serve = (str(installation.program), "serve", str(checkpoint), "--disable-uvicorn-access-log", *eager, *flags)
        self.command: list[str] = []
        self.ready_s = 0.0

    def __enter__(self) -> VllmServer:
        start_ns = now_ns()
        try:
            for last in (False,) * (TRIES - 1) + (True,):
                self._start()
                if self._wait_ready(start_ns, retry=not last):
                    break
        except BaseException:
            self.stop()
            raise
        self.ready_s = (now_ns() - start_ns) / NS_PER_S
        return self

    @property
    def url(self) -> str:
        return f"http://{self.endpoints.http}"

    def version(self) -> str:
        """vLLM's version as the server reports it, such as 0.32.0."""
        return str(json.loads(self._get("/version")[1])["version"])

    def _start(self) -> None:
        port = self._asked_port or free_ports(1)[0]
        self.endpoints = Endpoints(grpc="", http=f"{LOOPBACK}:{port}", metrics=f"{LOOPBACK}:{port}")
        self.command = [*self._serve, "--host", LOOPBACK, "--port", str(port)]
        self._process = Supervised(self.command, self.log, self._environment)

    def _wait_ready(self, start_ns: int, retry: bool) -> bool:
        """Wait until the server is ready. False if it ended because its port was not free, and another start may succeed."""
        deadline_ns = start_ns + seconds_ns(self._launch.ready_timeout_s)
        while now_ns() < deadline_ns:
            if self.exit_code() is not None:
                if retry and self.port_was_taken():
                    return False
                raise ServerError(f"vLLM ended before it was ready.\n{self.death()}")
            if self._is_ready():
                return True
            sleep_s(_POLL_S)
        raise ServerError(f"vLLM was not ready after {self._launch.ready_timeout_s:g} s.\n{examine(self.log, None)}")

    def _is_ready(self) -> bool:
        try:
            return self._get("/health")[0] == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    def _get(self, path: str) -> tuple[int, bytes]:
        with closing(http.client.HTTPConnection(self.endpoints.http, timeout=2)) as connection:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read()
