"""Fleet: the servers of one deployment, usually one, and the load balancer in front of several."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any

from trtbench.scenario.deployment.deployment import Replicas
from trtbench.serving.server.autopsy import Death, fault_while_running
from trtbench.serving.server.balancer import LoadBalancer
from trtbench.serving.server.launch import DIRECT, Launch
from trtbench.serving.server.server import Endpoints, TritonServer
from trtbench.serving.server.server_kinds import Server


class Fleet:
    """A context manager: all servers are ready on entry and gone after exit, whatever happens between. ServerError if one does not start.

    The servers start one after another, so that they do not compete for the machine while they load. They use the same repository.
    """

    def __init__(
        self,
        installation: Any,
        repository: Path,
        log: Path,
        replicas: Replicas,
        flags: Sequence[str] = (),
        ports: tuple[int, int, int] = (0, 0, 0),
        launch: Launch = DIRECT,
        gpus: Sequence[str] = (),
        start: Callable[..., Server] = TritonServer,
    ) -> None:
        """`log` is the log of the first server; the others and the balancer's files are next to it. `ports` are the first server's.

        `start` makes a server of `installation` that serves `repository`. `gpus` is the GPU that each server sees, as CUDA names it; if
        empty, every server sees all GPUs.
        """
        self._replicas, self._directory = replicas, log.parent
        self.servers: list[Server] = [
            start(
                installation,
                repository,
                log if i == 0 else log.with_name(f"server-{i}.log"),
                flags,
                ports if i == 0 else (0, 0, 0),
                launch,
                {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", "CUDA_VISIBLE_DEVICES": gpus[i]} if gpus else {},  # NVML's order, for an index
            )
            for i in range(replicas.count)
        ]
        self.balancer: LoadBalancer | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Fleet:
        with ExitStack() as starting:
            for server in self.servers:
                starting.enter_context(server)
            if self._replicas.balancer != "client":
                self.balancer = starting.enter_context(LoadBalancer(self._replicas, self.endpoints, self._directory))
            self._stack = starting.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, traceback)

    @property
    def endpoints(self) -> list[Endpoints]:
        return [server.endpoints for server in self.servers]

    @property
    def addresses(self) -> list[str]:
        """The addresses to which requests are sent: the address of the balancer, or the addresses of all servers."""
        return [self.balancer.address] if self.balancer else [server.url for server in self.servers]

    @property
    def ready_s(self) -> float:
        """The time that all servers together took to become ready."""
        return sum(server.ready_s for server in self.servers)

    def death(self) -> Death | None:
        """The death of the first server that has ended, or of the balancer; None while all run."""
        for number, server in enumerate(self.servers):
            if death := server.death():
                return replace(death, cause=f"{self._of(number)}{death.cause}")
        return self.balancer.death() if self.balancer else None

    def faults(self) -> Iterator[str]:
        """Failures of servers that run but do not serve correctly any more."""
        for number, server in enumerate(self.servers):
            if server.exit_code() is None and (fault := fault_while_running(server.log)):
                yield f"{self._of(number)}{fault}"

    def _of(self, number: int) -> str:
        return f"Server {number} of {len(self.servers)}: " if len(self.servers) > 1 else ""
