"""A client that goes away: its KV blocks are freed, and nobody else notices."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.support.triton.kserve import Serving, Stream, ask, ask_all, gauges, request

pytestmark = [pytest.mark.triton, pytest.mark.timeout(90, func_only=True)]

LONG = 500  # tokens: at least ten seconds of generation on this machine
ROOMY_S = 5.0  # what the issue asks for is 0.2 s; benchmarks measure it, a test on a busy machine cannot


def _kv(server: Serving) -> dict[str, float]:
    return gauges(server.metrics_url, "nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type", server.engine.model)


def _active(server: Serving) -> float:
    return gauges(server.metrics_url, "nv_trt_llm_request_metrics", "request_type", server.engine.model)["active"]


def _wait_idle(server: Serving) -> float:
    """Seconds until no request is active and no block used; fails after ROOMY_S."""
    start = time.monotonic()
    while _active(server) or _kv(server)["used"]:
        assert time.monotonic() - start < ROOMY_S, (_active(server), _kv(server))
        time.sleep(0.02)
    return time.monotonic() - start


def _long(prompt: list[int]) -> dict[str, Any]:
    return {"input_ids": prompt, "request_output_len": LONG, "end_id": -1, "streaming": True}


def test_a_client_that_goes_away_frees_its_blocks(int8_server: Serving, prompts: list[list[int]]) -> None:
    _wait_idle(int8_server)
    stream = Stream(int8_server.url, request(int8_server.engine.model, **_long(prompts[0])))
    assert len(stream.read(parts=3).ids) == 3
    assert _active(int8_server) == 1
    assert _kv(int8_server)["used"] >= 1
    stream.cancel()
    _wait_idle(int8_server)


def test_a_client_that_goes_away_before_its_first_token(int8_server: Serving, prompts: list[list[int]]) -> None:
    _wait_idle(int8_server)
    for _ in range(3):
        stream = Stream(int8_server.url, request(int8_server.engine.model, **_long(prompts[1] * 10)))
        time.sleep(0.1)
        stream.cancel()
    _wait_idle(int8_server)
    assert len(ask(int8_server.url, int8_server.engine.model, input_ids=prompts[1], request_output_len=4, end_id=-1).ids) == 4


def test_the_other_streams_are_unaffected(int8_server: Serving, prompts: list[list[int]]) -> None:
    asked = [{"input_ids": prompt, "request_output_len": 24, "end_id": -1, "streaming": True} for prompt in prompts[:3]]
    undisturbed = [answer.ids for answer in ask_all(int8_server.url, int8_server.engine.model, asked)]
    with ThreadPoolExecutor(1) as pool:
        leaver = Stream(int8_server.url, request(int8_server.engine.model, **_long(prompts[3])))
        leaver.read(parts=2)
        others = pool.submit(ask_all, int8_server.url, int8_server.engine.model, asked)
        while _active(int8_server) < 4:
            time.sleep(0.01)
        leaver.cancel()
        answers = others.result()
    assert [answer.ids for answer in answers] == undisturbed
    assert [answer.error for answer in answers] == ["", "", ""]
    _wait_idle(int8_server)


def test_all_leave_at_once(int8_server: Serving, prompts: list[list[int]]) -> None:
    """Those that wait for one of the 8 places in the running batch too."""
    streams = [Stream(int8_server.url, request(int8_server.engine.model, **_long(prompts[i % 4]))) for i in range(12)]
    for stream in streams[:4]:
        stream.read(parts=1)
    for stream in streams:
        stream.cancel()
    _wait_idle(int8_server)
