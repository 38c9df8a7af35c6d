"""Configuration files of the load balancers: gRPC in, gRPC out, a stream at a time, on loopback and without root."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from trtbench.scenario.deployment.replicas import Replicas

LONGEST_S = 24 * 3600
"""A stream that waits for its next request is idle, and must not be cut."""
_FILES = 65_536
_CHECK_S = 1


def haproxy_config(address: str, servers: Sequence[tuple[str, str]], replicas: Replicas) -> str:
    """`servers`: each one's (gRPC, HTTP) address. HTTP/2 on both sides, so that streams are balanced and not connections."""
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
    """`temporary`: a directory of its own for what nginx wants to write. The zone makes its workers take turns together."""
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
