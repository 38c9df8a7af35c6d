from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.telemetry.exposition import Reading, engine_readings
from trtbench.telemetry.serve_stats import is_iterations, iteration_samples, serve_readings

FIXTURES = Path(__file__).parents[1] / "fixtures"
ITERATIONS = (FIXTURES / "iterations_trtllm_written_by_hand.json").read_text()
PROMETHEUS = (FIXTURES / "prometheus_trtllm_serve_written_by_hand.txt").read_text()
READ_NS = 10**12


def test_every_iteration_is_a_reading_of_its_own_time() -> None:
    samples = iteration_samples(ITERATIONS, READ_NS)
    first = {(s.name, s.label): s.value for s in samples if s.time_ns == READ_NS - 250_000_000}
    assert first == {
        ("engine_iterations", ""): 41,
        ("inflight_active_requests", ""): 5,
        ("inflight_max_requests", ""): 64,
        ("engine_memory_bytes", "gpu"): 8.5e9,
        ("engine_memory_bytes", "cpu"): 1048576,
        ("engine_memory_bytes", "pinned"): 0,
        ("kv_blocks_max", ""): 6239,
        ("kv_blocks_free", ""): 6139,
        ("kv_blocks_used", ""): 100,
        ("kv_block_tokens", ""): 32,
        ("kv_blocks_reused", ""): 7,
        ("inflight_scheduled_requests", ""): 4,
        ("inflight_context_requests", ""): 1,
        ("inflight_generation_requests", ""): 3,
        ("inflight_paused_requests", ""): 0,
        ("inflight_context_tokens", ""): 512,
        ("inflight_waiting_requests", ""): 1,
    }
    last = {s.name: s.value for s in samples if s.time_ns == READ_NS}
    assert last["engine_iterations"] == 42 and last["inflight_waiting_requests"] == 0
    assert not {"kv_blocks_used", "engine_memory_bytes"} & set(last), "a section that is null says nothing"


def test_no_iterations_since_the_last_reading_are_no_samples() -> None:
    assert is_iterations(" [] ") and iteration_samples("[]", READ_NS) == []


def test_iterations_without_a_readable_time_are_of_the_reading() -> None:
    page = json.dumps([{"iter": 1}, {"iter": 2, "timestamp": "yesterday"}])
    assert [(s.time_ns, s.value) for s in iteration_samples(page, READ_NS)] == [(READ_NS, 1), (READ_NS, 2)]


@given(st.text(max_size=40))
def test_what_is_no_list_of_iterations_is_refused(text: str) -> None:
    try:
        iteration_samples("[" + text, READ_NS)
    except ValueError:
        return


@pytest.mark.parametrize("page", ["[1]", '["x"]', "[{},"])
def test_other_lists_are_refused(page: str) -> None:
    with pytest.raises(ValueError):
        iteration_samples(page, READ_NS)


def test_prometheus_families_of_trtllm_serve() -> None:
    assert {reading[:2]: reading.value for reading in serve_readings(PROMETHEUS)} == {
        ("kv_blocks_max", ""): 4000,
        ("kv_blocks_used", ""): 1000,
        ("kv_block_tokens", ""): 32,
        ("inflight_scheduled_requests", ""): 12,
        ("inflight_waiting_requests", ""): 3,
        ("engine_output_tokens", ""): 82500,
        ("engine_iterations", ""): 1234,
        ("inflight_paused_requests", ""): 0,
    }
    assert engine_readings(PROMETHEUS, "llama") == []


def test_an_ensemble_shows_the_engine_of_the_model_inside() -> None:
    page = (FIXTURES / "metrics_trtllm_written_by_hand.txt").read_text()
    assert engine_readings(page, "ensemble") == []
    found = {reading.name: reading.value for reading in engine_readings(page, "preprocessing", "")}
    assert found["kv_blocks_used"] == 100 and found["triton_pending_requests"] == 5


def test_an_ensembles_version_is_not_its_engines() -> None:
    page = (
        'nv_inference_pending_request_count{model="ensemble",version="3"} 5\n'
        'nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used",model="tensorrt_llm",version="1"} 100\n'
    )
    assert {reading.name: reading.value for reading in engine_readings(page, "ensemble", "")} == {
        "triton_pending_requests": 5,
        "kv_blocks_used": 100,
    }


@given(st.text(alphabet='trtllm_kv{}="1 \n', max_size=60))
def test_any_page_is_read(page: str) -> None:
    assert all(isinstance(reading, Reading) for reading in serve_readings(page))
