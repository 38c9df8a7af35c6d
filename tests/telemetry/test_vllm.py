"""The sources of telemetry on a real vLLM: its page under our names, and the borders of stages."""

from __future__ import annotations

import json
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest

from tests.support.vllm_server import RunningVllm
from trtbench.telemetry.borders import Borders
from trtbench.telemetry.metrics_page import MetricsPage
from trtbench.telemetry.page_check import page_fault
from trtbench.telemetry.request_metrics import page_beside

pytestmark = pytest.mark.vllm

PROMPT, TOKENS, REQUESTS = list(range(300, 500)), 30, 4


def complete(server: RunningVllm) -> None:
    body = {"model": server.model, "prompt": PROMPT, "max_tokens": TOKENS, "min_tokens": TOKENS, "ignore_eos": True}
    request = urllib.request.Request(f"{server.url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as reply:
        assert json.load(reply)["usage"]["completion_tokens"] == TOKENS


def test_counters_rise_by_the_load_between_two_borders(vllm_server: RunningVllm) -> None:
    borders = Borders(lambda limit_s: {"page": lambda: MetricsPage(vllm_server.metrics_url, vllm_server.model, limit_s)})
    before = {sample.name: sample.value for sample in borders.read().samples}
    with ThreadPoolExecutor(REQUESTS) as pool:
        for done in [pool.submit(complete, vllm_server) for _ in range(REQUESTS)]:
            done.result()
    border = borders.read(REQUESTS)
    after = {sample.name: sample.value for sample in border.samples}
    risen = {name: after[name] - before[name] for name in after}
    assert border.not_counted == 0 and border.counted_ns is not None
    assert (risen["engine_requests"], risen["engine_output_tokens"]) == (REQUESTS, REQUESTS * TOKENS)
    assert risen["engine_input_tokens"] == REQUESTS * len(PROMPT)
    assert all(risen[name] > 0 for name in ("engine_queue_ns", "engine_prefill_ns", "engine_decode_ns", "engine_iterations"))
    assert risen["prefix_cache_queries"] >= REQUESTS * len(PROMPT) and risen["engine_preemptions"] == 0
    assert (after["kv_blocks_used"], after["inflight_active_requests"]) == (0, 0), "nothing is left in use"


def test_a_running_batch_is_seen(vllm_server: RunningVllm) -> None:
    with closing(MetricsPage(vllm_server.metrics_url, vllm_server.model, 5)) as page, ThreadPoolExecutor(REQUESTS) as pool:
        load = [pool.submit(complete, vllm_server) for _ in range(REQUESTS)]
        running, used = 0.0, 0.0
        while not all(one.done() for one in load):
            values = {sample.name: sample.value for sample in page.read()}
            running, used = max(running, values["inflight_scheduled_requests"]), max(used, values["kv_blocks_used"])
    assert running == REQUESTS
    assert used >= REQUESTS * (len(PROMPT) // int(values["kv_block_tokens"]))


def test_its_page_is_known_and_has_no_page_of_requests_beside_it(vllm_server: RunningVllm) -> None:
    assert page_fault(vllm_server.metrics_url) == ""
    assert page_beside(vllm_server.metrics_url, 5) is None
