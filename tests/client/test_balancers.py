"""haproxy and nginx as trtbench configures them, before two fake Tritons: gRPC streams both ways, shared out, and a death noticed."""

from __future__ import annotations

import asyncio
import http.server
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from tests.support.asking import LATER_NS, ask_all, new_record, target_of, with_client
from tests.support.fakes.fake_servers import FakeServer, start
from trtbench.client.protocol import Limits
from trtbench.errors import UserError
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome
from trtbench.scenario.deployment.deployment import Replicas
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.serving.server import balancer as balancer_module
from trtbench.serving.server.balancer import LoadBalancer, find_balancer, haproxy_config, nginx_config
from trtbench.serving.server.server import Endpoints
from trtbench.system.clock import now_ns, sleep_s

pytestmark = pytest.mark.timeout(60)
SERVERS = [("127.0.0.1:1001", "127.0.0.1:2001"), ("127.0.0.1:1002", "127.0.0.1:2002")]


class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/v2/health/ready" else 404)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def health() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def fakes() -> Iterator[list[FakeServer]]:
    started = [start(1, 1), start(1, 1)]
    yield started
    for fake in started:
        fake.kill()


def replicas(balancer: str, algorithm: str = "round_robin") -> Replicas:
    try:
        find_balancer(balancer)
    except UserError as error:
        pytest.skip(str(error))
    return Replicas.model_validate({"servers": 2, "balancer": balancer, "algorithm": algorithm})


@pytest.mark.process
@pytest.mark.parametrize("algorithm", ["round_robin", "least_connections"])
@pytest.mark.parametrize("balancer", ["haproxy", "nginx"])
def test_streams_are_shared_out(balancer: str, algorithm: str, health: str, fakes: list[FakeServer], tmp_path: Path) -> None:
    servers = [Endpoints(fake.url, health, "") for fake in fakes]
    with LoadBalancer(replicas(balancer, algorithm), servers, tmp_path) as before:
        assert balancer in before.version().lower()
        target = target_of(before.address, "tensorrt_llm")
        records, facts = ask_all(target, 40, ClientSettings())
        assert {record.outcome for record in records} == {Outcome.COMPLETED}
        assert all(record.output_tokens == 8 for record in records)
        assert facts["connections_lost"] == 0
        pid = before.pid
        assert before.death() is None
    deadline = time.monotonic() + 10
    while sum(completed := [fake.counts()[0] for fake in fakes]) < 40 and time.monotonic() < deadline:
        sleep_s(0.02)  # a server counts a request after it has sent the answer
    assert sum(completed) == 40
    assert min(completed) >= (20 if balancer == "haproxy" and algorithm == "round_robin" else 10)
    assert not psutil.pid_exists(pid)


@pytest.mark.process
@pytest.mark.parametrize(
    ("limit", "ids", "resent"),
    [("1m", 60_000, 0), ("100k", 20_000, 2)],
    ids=["by default", "lower than any that is known"],
)
def test_no_request_fails_by_what_its_stream_has_carried_before(
    limit: str, ids: int, resent: int, health: str, fakes: list[FakeServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """nginx resets a stream as its requests together pass client_max_body_size; each of these fits alone."""

    def limited(*arguments: Any) -> str:
        return nginx_config(*arguments).replace("client_max_body_size 0;", f"client_max_body_size {limit};")

    monkeypatch.setattr(balancer_module, "nginx_config", limited)
    records = [new_record(index=index) for index in range(20)]

    async def body(client: Any) -> None:
        request = client.encode_request(PlannedPrompt(np.zeros(ids, np.int32), 8, 5))

        async def user(number: int) -> None:
            for record in records[number::2]:
                await client.send_request(record, request, Limits(now_ns() + LATER_NS))

        await asyncio.gather(user(0), user(1))

    with LoadBalancer(replicas("nginx"), [Endpoints(fake.url, health, "") for fake in fakes], tmp_path) as before:
        facts = with_client(target_of(before.address, "tensorrt_llm"), True, body)
    assert {(record.outcome, record.output_tokens) for record in records} == {(Outcome.COMPLETED, 8)}
    assert facts["requests_resent"] <= resent
    assert sum(record.attempts for record in records) == facts["requests_resent"]


@pytest.mark.process
@pytest.mark.parametrize("balancer", ["haproxy", "nginx"])
def test_its_death_is_noticed_and_classed(balancer: str, health: str, fakes: list[FakeServer], tmp_path: Path) -> None:
    with LoadBalancer(replicas(balancer), [Endpoints(fake.url, health, "") for fake in fakes], tmp_path) as before:
        (program,) = psutil.Process(before.pid).children()
        os.kill(program.pid, signal.SIGKILL)
        for _ in range(200):
            if death := before.death():
                break
            sleep_s(0.02)
        assert death and death.exit_code == 128 + signal.SIGKILL
        assert death.cause.startswith(f"The load balancer ({balancer}): Ended by SIGKILL")


def test_one_that_is_not_there_is_refused_with_the_remedy() -> None:
    with pytest.raises(UserError, match=r"no-such-balancer is not on PATH; .* or set balancer: client"):
        find_balancer("no-such-balancer")


def test_haproxy_balances_streams_and_asks_for_readiness() -> None:
    text = haproxy_config("127.0.0.1:9", SERVERS, Replicas(servers=2, balancer="haproxy", algorithm="least_connections"))
    assert "bind 127.0.0.1:9 proto h2\n" in text
    assert "balance leastconn\n" in text
    assert "option httpchk GET /v2/health/ready\n" in text
    assert "server triton-1 127.0.0.1:1002 proto h2 check inter 1s check-proto h1 port 2002\n" in text
    assert "stats" not in text


def test_nginx_takes_turns_across_its_workers(tmp_path: Path) -> None:
    text = nginx_config("127.0.0.1:9", SERVERS, Replicas(servers=2, balancer="nginx"), tmp_path)
    assert "listen 127.0.0.1:9 http2;" in text
    assert "zone triton 256k;" in text and "least_conn" not in text
    assert "grpc_pass grpc://triton;" in text
    assert f'pid "{tmp_path}/nginx.pid";' in text
