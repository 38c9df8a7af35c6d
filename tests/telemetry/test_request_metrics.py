from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest

from trtbench.telemetry.request_metrics import RequestMetrics, page_beside, requests_of

REQUESTS = (Path(__file__).parents[1] / "fixtures" / "perf_metrics_trtllm_serve_written_by_hand.json").read_text()
MS = 1_000_000


@contextmanager
def fake_pages(**answers: list[str]) -> Iterator[str]:
    """A server whose pages give their answers in turn, then empty lists; the address of its metrics page."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = answers.get(self.path.removeprefix("/"))
            self.send_response(404 if known is None else 200)
            self.end_headers()
            if known is not None:
                self.wfile.write((known.pop(0) if known else "[]").encode())

        def log_message(self, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.process
def test_requests_add_up_over_the_readings_that_take_them() -> None:
    with fake_pages(perf_metrics=[REQUESTS, "[]", REQUESTS]) as metrics_url:
        source = RequestMetrics(metrics_url.replace("metrics", "perf_metrics"), 5)
        first, second, third = ({sample.name: sample.value for sample in source.read()} for _ in range(3))
        source.close()
    assert first == second
    assert first == {
        "engine_requests": 2,
        "front_end_in_ns": 2 * MS,
        "engine_queue_ns": 40 * MS,
        "engine_prefill_ns": 60 * MS,
        "engine_decode_ns": 300 * MS,
        "front_end_out_ns": 1 * MS,
        "prefix_cache_queries": 6,
        "prefix_cache_hits": 1,
    }
    assert third == {name: 2 * value for name, value in first.items()}


@pytest.mark.process
def test_the_page_is_found_beside_the_metrics_only_where_it_is() -> None:
    with fake_pages(metrics=["[]"], perf_metrics=[REQUESTS]) as metrics_url:
        assert page_beside(metrics_url, 5) == metrics_url.replace("/metrics", "/perf_metrics")
    with fake_pages(metrics=["[]"]) as metrics_url:
        assert page_beside(metrics_url, 5) is None
    assert page_beside("http://127.0.0.1:9/metrics", 1) is None


@pytest.mark.parametrize("page", ["", "{}", "[1]", '[{"iter": 1}]', "<html>", "[[]]"])
def test_another_page_is_refused(page: str) -> None:
    with pytest.raises(ValueError):
        requests_of(page)


def test_values_of_wrong_types_add_nothing() -> None:
    strange = [{"perf_metrics": {"timing_metrics": {"arrival_time": "x", "first_scheduled_time": 1e300}, "kv_cache_metrics": 3}}]
    assert requests_of(json.dumps(strange)) == [strange[0]["perf_metrics"]]
