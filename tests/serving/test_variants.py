"""Every option of a deployment, on a real Triton: one server with a model for each, so that one start pays for all."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from tests.support.triton.kserve import Serving, Stream, ask, ask_all, batch_counts, gauges, request
from trtbench.client.request_outcome import classify
from trtbench.engine.spec import Engine
from trtbench.rundir.records import Outcome
from trtbench.scenario.deployment.deployment import Deployment, DynamicBatching, KvCache, QueuePolicy, Scheduler
from trtbench.scenario.parts.choices import Dtype
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository.model_repository import render
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.server import TritonServer

pytestmark = [pytest.mark.triton, pytest.mark.timeout(90, func_only=True)]

VARIANTS: dict[str, dict[str, Any]] = {
    "ordered": {
        "dynamic_batching": DynamicBatching(preserve_ordering=True, priority_levels=1, default_priority_level=1),
        "kv_cache": KvCache(bytes=10 * 32 * 23_040, prefix_caching=True),
    },
    "queue": {
        "dynamic_batching": DynamicBatching(
            preferred_batch_sizes=(8,),
            max_queue_delay_us=1_500_000,
            queue_policy=QueuePolicy(max_queue_size=2, timeout_us=500_000),
        )
    },
    "single": {
        "max_batch_size": 1,
        "dynamic_batching": None,
        "scheduler": Scheduler(max_sequences=1, max_tokens_per_step=64, chunked_prefill=False),
    },
    "pair": {
        "dynamic_batching": DynamicBatching(
            priority_levels=3, default_priority_level=2, queue_policy=QueuePolicy(timeout_us=30_000_000, timeout_action="delay")
        ),
        "instances": 2,
        "kv_cache": KvCache(blocks=12, dtype="int8"),
    },
}


@pytest.fixture(scope="module")
def variants(installation: TritonInstallation, engines: dict[Dtype, Engine], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    directory = tmp_path_factory.mktemp("variants")
    small = Deployment(kv_cache=KvCache(blocks=10), scheduler=Scheduler(max_sequences=4, max_tokens_per_step=128), inference_threads=1)
    flags: tuple[str, ...] = ()
    for name, settings in VARIANTS.items():
        repository = render(replace(engines["int8"], model=name), Deployment(**dict(small) | settings), Workload())
        repository.write(directory / "models")
        flags = repository.server_flags
    with TritonServer(installation, directory / "models", directory / "server.log", flags) as server:
        yield Serving(server, engines["int8"], small)


def _tensors(prompt: list[int], output_tokens: int = 6) -> dict[str, Any]:
    return {"input_ids": prompt, "request_output_len": output_tokens, "end_id": -1, "streaming": True}


@pytest.mark.parametrize("name", ["ordered", "single", "pair"])
def test_every_variant_serves_the_same_tokens(variants: Serving, int8_server: Serving, prompts: list[list[int]], name: str) -> None:
    answer = ask(variants.url, name, **_tensors(prompts[0]))
    assert answer.error == ""
    assert len(answer.ids) == 6
    if name != "pair":  # its INT8 keys and values may choose other words
        assert answer.ids == ask(int8_server.url, int8_server.engine.model, **_tensors(prompts[0])).ids


def test_requests_that_come_together_are_batched(int8_server: Serving, prompts: list[list[int]]) -> None:
    """Preferred sizes 4 and 8, a delay of 20 ms."""
    before = batch_counts(int8_server.url, int8_server.engine.model)
    answers = ask_all(int8_server.url, int8_server.engine.model, [_tensors(prompts[i % 4]) for i in range(8)])
    after = batch_counts(int8_server.url, int8_server.engine.model)
    assert all(len(answer.ids) == 6 for answer in answers)
    executions = {size: count - before.get(size, 0) for size, count in after.items() if count > before.get(size, 0)}
    assert sum(size * count for size, count in executions.items()) == 8
    assert max(executions) >= 4


def test_without_dynamic_batching_every_request_is_its_own_batch(variants: Serving, prompts: list[list[int]]) -> None:
    before = batch_counts(variants.url, "single")
    ask_all(variants.url, "single", [_tensors(prompts[i % 4], 2) for i in range(4)])
    after = batch_counts(variants.url, "single")
    assert set(after) == {1}
    assert after[1] - before.get(1, 0) == 4


def test_the_queues_policy(variants: Serving, prompts: list[list[int]]) -> None:
    """The batcher holds what it has, hoping for 8; there is room for 2, and they may wait half a second: none is served."""
    answers = ask_all(variants.url, "queue", [_tensors(prompts[i % 4]) for i in range(6)])
    outcomes = [classify("", answer.error) for answer in answers]
    assert sum("Exceeds maximum queue size" in answer.error for answer in answers) >= 1
    assert sum("Request timeout expired" in answer.error for answer in answers) >= 1
    assert set(outcomes) == {Outcome.REJECTED, Outcome.TIMEOUT}
    full = [answer.done_ns - answer.sent_ns for answer in answers if "maximum queue size" in answer.error]
    expired = [answer.done_ns - answer.sent_ns for answer in answers if "timeout expired" in answer.error]
    assert min(full) < min(expired)


def test_all_priorities_are_served(variants: Serving, prompts: list[list[int]]) -> None:
    for priority in (1, 3):
        assert Stream(variants.url, request("pair", priority, **_tensors(prompts[0]))).read().error == ""


def test_gauges_are_sums_over_the_instances(variants: Serving, prompts: list[list[int]]) -> None:
    def read(family: str, label: str) -> dict[str, float]:
        return gauges(variants.metrics_url, family, label, "pair")

    def blocks() -> tuple[float, ...]:
        kv = read("nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type")
        return kv["max"], kv["free"], kv["used"], kv["tokens_per"]

    patience_s = time.monotonic() + 10  # a test before this one has its answer a moment before the gauge falls
    while (found := blocks()) != (24, 24, 0, 32) and time.monotonic() < patience_s:
        time.sleep(0.02)
    assert found == (24, 24, 0, 32)
    assert read("nv_trt_llm_request_metrics", "request_type")["max"] == 8
    most_active = most_used = 0.0
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(ask_all, variants.url, "pair", [_tensors(prompts[i % 4], 40) for i in range(4)])
        while not running.done():
            most_active = max(most_active, read("nv_trt_llm_request_metrics", "request_type")["active"])
            most_used = max(most_used, read("nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type")["used"])
            time.sleep(0.02)
    assert [len(answer.ids) for answer in running.result()] == [40] * 4
    assert most_active == 4
    assert most_used >= 4


def test_one_sequence_at_a_time(variants: Serving, prompts: list[list[int]]) -> None:
    """max_sequences 1: the second waits until the first is done."""
    started = threading.Barrier(2)

    def late(prompt: list[int]) -> Any:
        started.wait()
        return ask(variants.url, "single", **_tensors(prompt, 12))

    with ThreadPoolExecutor(2) as pool:
        first, second = sorted(pool.map(late, prompts[:2]), key=lambda answer: answer.parts[0].at_ns)
    assert first.parts[-1].at_ns <= second.parts[0].at_ns


def test_a_prompt_over_the_step_is_served_where_chunking_is_off(variants: Serving, prompts: list[list[int]]) -> None:
    answer = ask(variants.url, "single", **_tensors(prompts[0] * 8))
    assert answer.error or len(answer.ids) == 6
    assert ask(variants.url, "single", **_tensors(prompts[0])).error == ""


def test_a_common_prefix_is_reused(variants: Serving, prompts: list[list[int]]) -> None:
    prompt = (prompts[2] * 20)[:200]
    first, again = (ask(variants.url, "ordered", **_tensors(prompt)) for _ in range(2))
    assert again.ids == first.ids
    assert again.parts[0].at_ns - again.sent_ns < (first.parts[0].at_ns - first.sent_ns) * 0.8
    kv = gauges(variants.metrics_url, "nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type", "ordered")
    assert kv["max"] == 10
    assert "reused" not in kv  # the engine does not say how many: no series rather than a zero
