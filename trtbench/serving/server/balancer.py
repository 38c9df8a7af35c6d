"""LoadBalancer: haproxy or nginx in front of several Tritons, as a context manager.

The configuration files balance gRPC streams, and not connections, on loopback and without root.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType

from trtbench.errors import UserError
from trtbench.scenario.deployment.deployment import Replicas
from trtbench.serving.server.autopsy import Death, examine
from trtbench.serving.server.server import LOOPBACK, Endpoints, ServerError, free_ports
from trtbench.system.clock import now_ns, seconds_ns, sleep_s
from trtbench.system.interrupts import signals_wait
from trtbench.system.leftovers import shared_memory_prefix, temporary_directory
from trtbench.system.supervised import Supervised

LONGEST_S = 24 * 3600
"""The balancer's time limits: a stream that waits for its next request is idle, and the balancer must not end it."""
_FILES = 65_536
_CHECK_S = 1


def haproxy_config(address: str, servers: Sequence[tuple[str, str]], replicas: Replicas) -> str:
    """The configuration of haproxy. `servers` are (gRPC, HTTP) addresses. HTTP/2 on both sides has streams balanced, not connections."""
    balance = {"round_robin": "roundrobin", "least_connections": "leastconn"}[replicas.algorithm]
    lines = [
        "global",
        f"    fd-hard-limit {_FILES}",
        "defaults",
        "    mode http",
        "    timeout connect 5s",
        f"    timeout client {LONGEST_S}s",
        f"    timeout server {LONGEST_S}s",
        "    option http-no-delay",
        "frontend load",
        f"    bind {address} proto h2",
        "    default_backend triton",
        "backend triton",
        f"    balance {balance}",
        "    option httpchk GET /v2/health/ready",
        "    http-check expect status 200",
        *(
            f"    server triton-{i} {grpc} proto h2 check inter {_CHECK_S}s check-proto h1 port {http.rpartition(':')[2]}"
            for i, (grpc, http) in enumerate(servers)
        ),
    ]
    return "\n".join(lines) + "\n"


def nginx_config(address: str, servers: Sequence[tuple[str, str]], replicas: Replicas, temporary: Path) -> str:
    """The configuration of nginx, which writes its own files into `temporary`. The zone makes its workers balance together."""
    least = ["        least_conn;"] if replicas.algorithm == "least_connections" else []
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    lines = [
        "daemon off;",
        "worker_processes auto;",
        f"worker_rlimit_nofile {_FILES};",
        f'pid "{temporary}/nginx.pid";',
        "error_log stderr warn;",
        "events {",
        f"    worker_connections {_FILES // 4};",
        "}",
        "http {",
        "    access_log off;",
        *(f'    {kind}_temp_path "{temporary}/{kind}";' for kind in kinds),
        "    upstream triton {",
        "        zone triton 256k;",
        *least,
        *(f"        server {grpc};" for grpc, _ in servers),
        "        keepalive 1024;",
        "    }",
        "    server {",
        f"        listen {address} http2;",
        "        keepalive_requests 1000000000;",
        f"        keepalive_timeout {LONGEST_S}s;",
        f"        client_body_timeout {LONGEST_S}s;",
        "        client_max_body_size 0;",
        "        location / {",
        "            grpc_pass grpc://triton;",
        f"            grpc_read_timeout {LONGEST_S}s;",
        f"            grpc_send_timeout {LONGEST_S}s;",
        "        }",
        "    }",
        "}",
    ]
    return "\n".join(lines) + "\n"


_SYSTEM_PROGRAMS = "/usr/local/sbin:/usr/sbin:/sbin"  # Debian installs them here, which is not on the PATH of an ordinary user
_START_S = 10.0
_POLL_S = 0.02


def find_balancer(name: str) -> Path:
    """The path of a balancer's program; UserError if it is not installed."""
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), _SYSTEM_PROGRAMS)))
    if found is None:
        raise UserError(
            f"replicas.balancer: {name} is not on PATH; on Debian `apt-get install {name}` installs it; or set balancer: client, "
            "which needs no program"
        )
    return Path(found)


class LoadBalancer:
    """Balances between `servers` at `address`, from entry to exit. Its configuration and its log are in `directory`."""

    def __init__(self, replicas: Replicas, servers: Sequence[Endpoints], directory: Path) -> None:
        self._program = find_balancer(replicas.balancer)
        self._replicas, self._directory = replicas, directory
        self._servers = [(server.grpc, server.http) for server in servers]
        self._log = directory / "balancer.log"
        self._temporary: TemporaryDirectory[str] | None = None
        self._process: Supervised | None = None

    def __enter__(self) -> LoadBalancer:
        self.address = f"{LOOPBACK}:{free_ports(1)[0]}"
        try:
            with signals_wait():
                self._temporary = temporary_directory()
            prefix = shared_memory_prefix(self.address.rpartition(":")[2])
            self._process = Supervised(self._command(), self._log, os.environ, prefix)
            self._wait()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The root of its process tree."""
        assert self._process is not None
        return self._process.pid

    def death(self) -> Death | None:
        """The end of the balancer and its cause; None while it runs."""
        exit_code = self._process.exit_code() if self._process else None
        if exit_code is None:
            return None
        death = examine(self._log, exit_code)
        return replace(death, cause=f"The load balancer ({self._replicas.balancer}): {death.cause}")

    def version(self) -> str:
        """The first line that the program prints about its version."""
        done = subprocess.run([self._program, "-v"], capture_output=True, text=True, timeout=10, check=False)
        return (done.stdout or done.stderr).partition("\n")[0].strip()

    def stop(self) -> None:
        with signals_wait():
            if self._process:
                self._process.stop()
            if self._temporary:
                self._temporary.cleanup()

    def _command(self) -> list[str]:
        """Write the configuration; returns the command that uses it."""
        assert self._temporary
        if self._replicas.balancer == "haproxy":
            path = self._directory / "haproxy.cfg"
            path.write_text(haproxy_config(self.address, self._servers, self._replicas), encoding="utf-8")
            return [str(self._program), "-db", "-f", str(path.resolve())]
        path = self._directory / "nginx.conf"
        path.write_text(nginx_config(self.address, self._servers, self._replicas, Path(self._temporary.name)), encoding="utf-8")
        return [str(self._program), "-p", self._temporary.name, "-e", "stderr", "-c", str(path.resolve())]

    def _wait(self) -> None:
        """Wait until it accepts connections; ServerError if it does not."""
        host, _, port = self.address.rpartition(":")
        deadline_ns = now_ns() + seconds_ns(_START_S)
        while now_ns() < deadline_ns:
            if death := self.death():
                raise ServerError(str(death))
            with socket.socket() as probe:
                if probe.connect_ex((host, int(port))) == 0:
                    return
            sleep_s(_POLL_S)
        raise ServerError(f"The load balancer did not listen within {_START_S:g} s.\n{examine(self._log, None)}")
