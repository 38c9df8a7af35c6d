"""TritonServer: a running `tritonserver`, as a context manager: it is ready on entry and gone after exit, whatever happens between."""

from __future__ import annotations

import http.client
import json
import socket
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType

from trtbench.errors import UserError
from trtbench.serving.server.autopsy import examine
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.launch import DIRECT, Launch
from trtbench.serving.server.server_process import ServerProcess
from trtbench.system.clock import NS_PER_S, now_ns, seconds_ns, sleep_s
from trtbench.system.interrupts import signals_wait
from trtbench.system.leftovers import shared_memory_prefix, temporary_directory
from trtbench.system.supervised import Supervised

LOOPBACK = "127.0.0.1"
_IN_FLIGHT_GRACE_S = 4  # how long Triton waits for requests in flight when it stops; well below STOP_GRACE_S
_POLL_S = 0.05
TRIES = 3  # a port that was found free may be used by another program before Triton binds it


class ServerError(RuntimeError):
    """A server did not start or did not become ready; the message names the cause, the remedy and the log's last lines."""


@dataclass(frozen=True)
class Endpoints:
    """Addresses as host:port."""

    grpc: str
    http: str
    metrics: str


class TritonServer(ServerProcess):
    """Serves a model repository on loopback; a context manager.

    `ports` are those of gRPC, HTTP and metrics; a free one is chosen for each 0. `variables` are added to its environment. ServerError,
    with the probable cause and the last lines of the log, if it dies or is not ready within the time of the launch.
    """

    def __init__(
        self,
        installation: TritonInstallation,
        repository: Path,
        log: Path,
        flags: Sequence[str] = (),
        ports: tuple[int, int, int] = (0, 0, 0),
        launch: Launch = DIRECT,
        variables: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(log)
        self._installation = installation
        self._repository = repository
        self._flags = flags
        self._asked_ports = ports
        self._launch = launch
        self.command: list[str] = []
        self.ready_s = 0.0
        self._variables = dict(variables)
        self._staged: TemporaryDirectory[str] | None = None

    def __enter__(self) -> TritonServer:
        try:
            with signals_wait():
                self._staged = temporary_directory()
            backends = self._installation.stage(Path(self._staged.name) / "backends")
            start_ns = now_ns()
            for last in (False,) * (TRIES - 1) + (True,):
                self._start(backends)
                if self._wait_ready(start_ns, retry=not last):
                    break
        except BaseException:
            self.stop()
            raise
        self.ready_s = (now_ns() - start_ns) / NS_PER_S
        return self

    @property
    def url(self) -> str:
        """The address that its client sends to, that of gRPC."""
        return self.endpoints.grpc

    def version(self) -> str:
        """Triton's version as the server reports it, such as 2.51.0."""
        connection = http.client.HTTPConnection(self.endpoints.http, timeout=2)
        with closing(connection):
            connection.request("GET", "/v2")
            return str(json.load(connection.getresponse())["version"])

    def stop(self) -> None:
        """End the server and all processes that it started, and wait for that. A second call does nothing."""
        with signals_wait():
            super().stop()
            if self._staged:
                self._staged.cleanup()

    def _start(self, backends: Path) -> None:
        ports = [asked or free for asked, free in zip(self._asked_ports, free_ports(3), strict=True)]
        self.endpoints = Endpoints(*(f"{LOOPBACK}:{port}" for port in ports))
        shm_prefix = shared_memory_prefix(str(ports[0]))
        self.command = self._launch.command(lambda rank: self._server(backends, ports, f"{shm_prefix}{f'{rank}_' if rank else ''}"))
        environment = {**self._installation.environment(), **self._launch.environment, **self._variables}
        self._process = Supervised(self.command, self.log, environment, shm_prefix)

    def _server(self, backends: Path, ports: Sequence[int], shm_prefix: str) -> list[str]:
        return [
            str(self._installation.binary),
            f"--model-repository={self._repository}",
            f"--backend-directory={backends}",
            f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
            *(f"--{service}-address={LOOPBACK}" for service in ("grpc", "http", "metrics")),
            *(f"--{service}-port={port}" for service, port in zip(("grpc", "http", "metrics"), ports, strict=True)),
            "--metrics-interval-ms=100",
            f"--exit-timeout-secs={_IN_FLIGHT_GRACE_S}",
            *self._flags,
        ]

    def _wait_ready(self, start_ns: int, retry: bool) -> bool:
        """Wait until the server is ready. False if it ended because a port was not free, and another start may succeed."""
        deadline_ns = start_ns + seconds_ns(self._launch.ready_timeout_s)
        while now_ns() < deadline_ns:
            if self.exit_code() is not None:
                if retry and self.port_was_taken():
                    return False
                raise ServerError(f"Triton ended before it was ready.\n{self.death()}")
            if is_ready(self.endpoints.http):
                return True
            sleep_s(_POLL_S)
        raise ServerError(f"Triton was not ready after {self._launch.ready_timeout_s:g} s.\n{examine(self.log, None)}")


def is_ready(http_address: str) -> bool:
    """Whether the server reports that it and all its models are ready."""
    with closing(http.client.HTTPConnection(http_address, timeout=2)) as connection:
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False


def free_ports(count: int) -> list[int]:
    """Different ports that are free on loopback now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind((LOOPBACK, 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


def check_ports_free(ports: Sequence[int]) -> None:
    """UserError for the first port that another program uses; 0 is not checked."""
    for port in filter(None, ports):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError as error:
                raise UserError(f"port {port} cannot be used ({error.strerror}): choose another, or 0 for a free one") from error
