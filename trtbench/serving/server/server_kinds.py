"""SERVERS: the kinds of servers that trtbench starts, and what a run knows of a running one (Server)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from trtbench.engine.vllm_installation import find_vllm
from trtbench.serving.server.autopsy import Death
from trtbench.serving.server.server import Endpoints, TritonServer
from trtbench.serving.server.vllm_server import VllmServer


class Server(Protocol):
    """A server that runs within the block of `with`. ServerError on entry if it does not become ready."""

    log: Path
    command: list[str]
    ready_s: float
    endpoints: Endpoints

    def __enter__(self) -> Server: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None: ...

    @property
    def url(self) -> str:
        """The address that its client sends to."""

    @property
    def pid(self) -> int:
        """The root of its process tree."""

    def exit_code(self) -> int | None:
        """Its exit code, 128 + n if signal n ended it; None while it runs."""

    def death(self) -> Death | None:
        """How and why it ended; None while it runs."""

    def version(self) -> str:
        """The version that it reports."""


@dataclass(frozen=True)
class ServerKind:
    """How servers of one kind are started and measured.

    `start(installation, what, log, flags, ports, launch, variables)` makes one, not yet running; `what` is the directory that it serves.
    `find` is how its installation is found, UserError if there is none; None: the run finds it. `client` is the name in CLIENTS of the
    client that sends to it, by `endpoint` of that client. `version_fact`: the field of DeploymentFile that has its version.
    """

    title: str
    start: Callable[..., Server]
    client: str
    endpoint: str
    version_fact: str
    find: Callable[[], Any] | None = None

    def reported(self, version: str) -> str:
        """The value of `version_fact`."""
        return f"{self.title} {version}" if self.version_fact == "server_name" else version


SERVERS = {
    "triton": ServerKind("Triton", TritonServer, client="kserve", endpoint="kserve", version_fact="triton_version"),
    "vllm": ServerKind("vLLM", VllmServer, client="openai", endpoint="openai-completions", version_fact="server_name", find=find_vllm),
}
