"""The server's /metrics page: TensorRT-LLM's families, labels and meanings (its custom_metrics_reporter.cc)."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.triton.kserve import Serving, ask, ask_all, gauges, page

pytestmark = [pytest.mark.triton, pytest.mark.timeout(60, func_only=True)]

FAMILIES = {
    "nv_trt_llm_request_metrics": ("request_type", {"active", "max", "scheduled", "context", "waiting"}),
    "nv_trt_llm_runtime_memory_metrics": ("memory_type", {"cpu", "gpu", "pinned"}),
    "nv_trt_llm_kv_cache_block_metrics": ("kv_cache_block_type", {"max", "free", "used", "tokens_per", "reused", "fraction"}),
    "nv_trt_llm_inflight_batcher_metrics": (
        "inflight_batcher_specific_metric",
        {"total_context_tokens", "generation_requests", "paused_requests", "micro_batch_id"},
    ),
    "nv_trt_llm_general_metrics": ("general_type", {"iteration_counter", "timestamp"}),
}


def _read(server: Serving, family: str) -> dict[str, float]:
    return gauges(server.metrics_url, family, FAMILIES[family][0], server.engine.model)


def _iterations(server: Serving) -> float:
    return _read(server, "nv_trt_llm_general_metrics")["iteration_counter"]


def test_families_and_labels(int8_server: Serving) -> None:
    families = {name: samples for name, samples in page(int8_server.metrics_url).items() if name.startswith("nv_trt_llm_")}
    assert set(families) == set(FAMILIES)
    for name, samples in families.items():
        label, values = FAMILIES[name]
        assert {sample.labels[label] for sample in samples} == values
        assert all(set(sample.labels) == {"model", "version", label} for sample in samples)
        assert {(sample.labels["model"], sample.labels["version"]) for sample in samples} == {(int8_server.engine.model, "1")}


def test_lengths_are_observed_once_a_request(int8_server: Serving, prompts: list[list[int]]) -> None:
    def sums() -> dict[str, float]:
        wanted = ("nv_llm_input_token_len", "nv_llm_output_token_len")
        found = page(int8_server.metrics_url)
        return {s.name: s.value for name in wanted for s in found.get(name, []) if s.name.endswith(("_sum", "_count"))}

    before = sums()
    ask(int8_server.url, int8_server.engine.model, input_ids=prompts[0], request_output_len=12, end_id=-1)
    deadline = time.monotonic() + 5
    count = "nv_llm_output_token_len_count"  # the second of the two
    while (after := sums()).get(count) == before.get(count) and time.monotonic() < deadline:
        time.sleep(0.02)
    rise = {name: value - before.get(name, 0) for name, value in after.items()}
    assert rise == {
        "nv_llm_input_token_len_sum": len(prompts[0]),
        "nv_llm_input_token_len_count": 1,
        "nv_llm_output_token_len_sum": 12,
        "nv_llm_output_token_len_count": 1,
    }


def test_sizes_are_the_deployments(int8_server: Serving, prompts: list[list[int]]) -> None:
    """Once the engine has allocated its cache, which it does with the first request."""
    ask(int8_server.url, int8_server.engine.model, input_ids=prompts[0], request_output_len=1, end_id=-1)
    kv = _read(int8_server, "nv_trt_llm_kv_cache_block_metrics")
    assert (kv["max"], kv["tokens_per"], kv["reused"]) == (24, 32, 0)
    assert _read(int8_server, "nv_trt_llm_request_metrics")["max"] == 8
    expected_bytes = 24 * 32 * int8_server.engine.model_facts.kv_bytes_per_token("fp16")
    assert _read(int8_server, "nv_trt_llm_runtime_memory_metrics")["cpu"] == expected_bytes


def test_a_step_each_token(int8_server: Serving, prompts: list[list[int]]) -> None:
    before = _iterations(int8_server)
    ask(int8_server.url, int8_server.engine.model, input_ids=prompts[0], request_output_len=12, end_id=-1)
    deadline = time.monotonic() + 5
    while _iterations(int8_server) < before + 12 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert 12 <= _iterations(int8_server) - before <= 14


def test_gauges_follow_what_runs(int8_server: Serving, prompts: list[list[int]]) -> None:
    """8 sequences may run, 10 are asked for: at some time 8 are scheduled, and 2 wait."""
    asked = [{"input_ids": prompts[i % 4], "request_output_len": 30, "end_id": -1, "streaming": True} for i in range(10)]
    requests, kvs, batchers = [], [], []
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask_all, int8_server.url, int8_server.engine.model, asked)
        while not running.done():
            requests.append(_read(int8_server, "nv_trt_llm_request_metrics"))
            kvs.append(_read(int8_server, "nv_trt_llm_kv_cache_block_metrics"))
            batchers.append(_read(int8_server, "nv_trt_llm_inflight_batcher_metrics"))
            time.sleep(0.02)
    assert [len(answer.ids) for answer in running.result()] == [30] * 10
    assert max(read["scheduled"] for read in requests) == 8
    assert max(read["active"] for read in requests) == 10
    assert max(read["waiting"] for read in requests) >= 2
    assert max(batcher["generation_requests"] for batcher in batchers) == 8
    assert max(kv["used"] for kv in kvs) >= 8  # a block at least for every sequence
    for kv in kvs:
        assert kv["used"] + kv["free"] == pytest.approx(kv["max"], abs=2)  # each gauge is set on its own: a scrape may fall between
        assert kv["fraction"] == pytest.approx(kv["used"] / kv["max"], abs=0.05)


def test_idle_again(int8_server: Serving) -> None:
    deadline = time.monotonic() + 5
    while _read(int8_server, "nv_trt_llm_request_metrics")["active"] and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.1)
    requests = _read(int8_server, "nv_trt_llm_request_metrics")
    assert (requests["active"], requests["scheduled"], requests["waiting"], requests["context"]) == (0, 0, 0, 0)
    kv = _read(int8_server, "nv_trt_llm_kv_cache_block_metrics")
    assert (kv["used"], kv["free"]) == (0, 24)
    assert kv["fraction"] == pytest.approx(0, abs=1e-9)


def _counted(server: Serving) -> tuple[dict[str, float], dict[str, float]]:
    """(engine steps by scheduled requests, tokens by company)."""
    families = (("trtbench_engine_steps", "scheduled_requests"), ("trtbench_engine_tokens", "made"))
    steps, tokens = (gauges(server.metrics_url, family, label, server.engine.model) for family, label in families)
    return steps, tokens


def test_every_step_and_token_is_counted(int8_server: Serving, prompts: list[list[int]]) -> None:
    """12 tokens of one request are 12 steps alone; of four at once every token is counted too, most of them made in company."""
    model, asked = int8_server.engine.model, {"input_ids": prompts[0], "request_output_len": 12, "end_id": -1}
    ask(int8_server.url, model, **asked)  # the series are there from the first step on
    time.sleep(0.2)
    steps, tokens = _counted(int8_server)
    ask(int8_server.url, model, **asked)
    time.sleep(0.2)
    after, made = _counted(int8_server)
    assert after["1"] - steps["1"] == made["alone"] - tokens["alone"] == 12
    ask_all(int8_server.url, model, [{**asked, "streaming": True}] * 4)
    time.sleep(0.2)
    steps, tokens = _counted(int8_server)
    assert sum(tokens.values()) - sum(made.values()) == 48
    assert tokens["in_company"] - made.get("in_company", 0) > tokens["alone"] - made["alone"]
    shared = {int(size): steps[size] - after.get(size, 0) for size in steps}
    assert sum(size * count for size, count in shared.items()) == 48
