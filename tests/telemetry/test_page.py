from __future__ import annotations

import http.client
import re
import socket
import tracemalloc
from contextlib import closing
from typing import Any

import pytest

from tests.support.fakes import telemetry_answers as answers
from tests.support.fakes.first_answers import answering
from trtbench.errors import UserError
from trtbench.telemetry.metrics_page import MetricsPage
from trtbench.telemetry.page import MOST_BYTES, Page
from trtbench.telemetry.page_check import check_page, metrics_address

pytestmark = pytest.mark.process


def read(answer: answers.Answer, limit_s: float = 5.0) -> str:
    with answering(answer) as address, closing(Page(f"http://{address}/metrics", limit_s)) as page:
        return page.read()


def test_a_page_plain_and_packed_and_behind_redirects() -> None:
    text = answers.PAGE.decode()
    for answer in (answers.page, answers.packed, answers.redirects("/metrics/"), answers.redirects("/a?b=c")):
        assert read(answer) == text


def test_a_redirect_is_followed_once() -> None:
    asked = []

    def answer(connected: socket.socket) -> None:
        answers.redirects("/metrics/")(Spy(connected, asked))  # type: ignore[arg-type]

    with answering(answer) as address, closing(Page(f"http://{address}/metrics", 5)) as page:
        assert {page.read() for _ in range(3)} == {answers.PAGE.decode()}
    assert asked == ["/metrics", "/metrics/", "/metrics/", "/metrics/"]


class Spy:
    def __init__(self, connected: socket.socket, asked: list[str]) -> None:
        self._connected, self._asked = connected, asked

    def recv(self, size: int) -> bytes:
        received = self._connected.recv(size)
        self._asked += re.findall(r"GET (\S+)", received.decode())
        return received

    def sendall(self, data: bytes) -> None:
        self._connected.sendall(data)


FAULTS: list[tuple[answers.Answer, str]] = [
    (answers.status("404 Not Found"), "/metrics answered 404 Not Found"),
    (answers.status("404 \x1b[2J"), r"answered 404 \\x1b\[2J"),
    (answers.status("401 Unauthorized"), "answered 401 Unauthorized: the page wants credentials"),
    (answers.status("200 OK", body=b"<!DOCTYPE html><html>login please</html>"), "a web page .HTML. answers there"),
    (answers.status("200 OK", body=b"\n<html>login please</html>"), "a web page .HTML. answers there"),
    (answers.status("200 OK", body=b"go_goroutines 5\nnode_load1 0.5\n"), "none of Triton, .* or vLLM .its first is go_goroutines"),
    (answers.status("200 OK", body=b'{"detail": "\x1b[31m"}'), r'no page of metrics .it begins with {"detail": "\\x1b\[31m"}'),
    (answers.status("200 OK", body=b""), "the page is empty"),
    (answers.status("200 OK", body=b"[1, 2]"), "is JSON, but no list of iteration statistics"),
    (answers.status("200 OK", body=b"[" * 100_000), "is JSON, but no list of iteration statistics"),
    (answers.status("200 OK", "Content-Encoding: br"), "is encoded as br"),
    (answers.redirects("/other", "http://elsewhere.test:9"), r"redirects .301. to http://elsewhere.test:9/other: give the URL"),
    (answers.redirects("/other", "https://127.0.0.1:9"), r"redirects .301. to https://127.0.0.1:9"),
    (answers.redirects("", ""), "redirects"),
    (answers.circles, "more than 3 redirects"),
    (answers.endless, "the page has more than 32 MiB"),
    (answers.packed_bomb, "the page has more than 32 MiB"),
    (answers.announces(b"Content-Length: 99999999999999999999\r\n\r\n"), "the page has more than 32 MiB"),
    (answers.announces(b"Content-Length: 50000000000\r\n\r\n"), "the page has more than 32 MiB"),
    (answers.announces(b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\n"), "IncompleteRead"),
    (answers.announces(b"Transfer-Encoding: chunked\r\n\r\nbebc20000\r\n"), "IncompleteRead"),
    (answers.packed_torn, "the compressed page ends before its end"),
    (answers.not_packed, "said to be compressed and is not"),
    (answers.endless_headers, "the server's answer is not HTTP/1"),
    (answers.garbage, "the server there does not speak HTTP/1"),
    (answers.torn, "the server's answer is not HTTP/1|IncompleteRead|timed out"),
    (answers.closes, "does not speak HTTP/1|closed"),
]  # fmt: skip


@pytest.mark.parametrize(("answer", "says"), FAULTS)
def test_what_is_no_page_is_said_before_the_load(answer: answers.Answer, says: str) -> None:
    with answering(answer) as address, pytest.raises(UserError, match=says) as raised:
        check_page(f"http://{address}/metrics")
    said = str(raised.value)
    assert said.startswith(f"--metrics-url http://{address}/metrics: ")
    assert said.isprintable() and len(said) < 700


@pytest.mark.parametrize("answer", [answers.drips, answers.drips_headers, lambda connected: connected.recv(10) and connected.recv(10_000)])
def test_a_page_that_takes_its_time(answer: answers.Answer) -> None:
    with answering(answer) as address, pytest.raises(UserError, match=r"not whole within 0.3 s|closed"):
        check_page(f"http://{address}/metrics", timeout_s=0.3)


def test_a_dead_port_and_a_host_that_is_none() -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(UserError, match="connection refused, no program listens on this port"):
            check_page(f"http://127.0.0.1:{bound.getsockname()[1]}/metrics")
    with pytest.raises(UserError, match="not known"):
        check_page("http://no-such-host.invalid/metrics")


def test_pages_that_are_right(fake_triton: Any) -> None:
    check_page(fake_triton.metrics_url)
    for body in (
        answers.PAGE,
        b"[]",
        b'trtllm_request_success_total{model_name="m"} 3\n',
        b"nv_x 1\r\n",
        b"# HELP x y\nnv_gpu_power_usage 3\n",
    ):
        with answering(answers.status("200 OK", body=body)) as address:
            check_page(f"http://{address}/metrics")


def test_an_endless_page_is_read_in_bounded_memory() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(OSError, match="more than 32 MiB"):
            read(answers.endless)
        assert tracemalloc.get_traced_memory()[1] < 4 * MOST_BYTES
    finally:
        tracemalloc.stop()


def test_a_page_of_too_many_series() -> None:
    lines = "".join(f'trtbench_engine_steps{{model="m",version="1",scheduled_requests="{number}"}} 1\n' for number in range(20_001))
    with (
        answering(answers.status("200 OK", body=lines.encode())) as address,
        closing(MetricsPage(f"http://{address}/metrics", "m", 5)) as source,
        pytest.raises(OSError, match="20001 series, the upper bound is 20000"),
    ):
        source.read()


def test_every_reading_works_where_the_server_closes_each_connection_unannounced() -> None:
    def once(connected: socket.socket) -> None:
        connected.recv(4096)
        connected.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(answers.PAGE) + answers.PAGE)

    with answering(once) as address, closing(Page(f"http://{address}/metrics", 5)) as page:
        assert [page.read() for _ in range(3)] == [answers.PAGE.decode()] * 3


def test_the_next_reading_works_after_a_fault() -> None:
    turns = iter([answers.torn, answers.page])
    with answering(lambda connected: next(turns)(connected)) as address, closing(Page(f"http://{address}/metrics", 5)) as page:
        with pytest.raises((OSError, http.client.HTTPException)):
            page.read()
        assert page.read() == answers.PAGE.decode()


def test_the_address_of_a_metrics_page() -> None:
    whole = "http://localhost:8002/metrics"
    forms = (whole, "localhost:8002/metrics", "localhost:8002", "localhost", "http://localhost:8002", "http://localhost:8002/")
    assert [metrics_address(form) for form in forms] == [whole] * len(forms)
    assert metrics_address("gpu-7:9000/gpu/metrics") == "http://gpu-7:9000/gpu/metrics"
    assert metrics_address("http://[::1]:8002/metrics") == "http://[::1]:8002/metrics"
    assert metrics_address("h/metrics?name=nv_trt_llm") == "http://h:8002/metrics?name=nv_trt_llm"
    assert metrics_address(None) is None
    with pytest.raises(UserError, match="--metrics-url: a user name and a password cannot be sent with it"):
        metrics_address("http://me:secret@h:8002/metrics")


@pytest.mark.parametrize("url", ["ftp://h/metrics", "http://", "http://h:x/metrics", "http://h:99999/metrics", "h h:8002", ":8002/metrics"])
def test_what_is_no_metrics_page_is_refused(url: str) -> None:
    with pytest.raises(UserError, match=r"--metrics-url .*write http://HOST:8002/metrics"):
        metrics_address(url)
