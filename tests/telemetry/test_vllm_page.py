from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.telemetry.vllm_page import vllm_readings

PAGE = (Path(__file__).parents[1] / "fixtures" / "metrics_vllm_0.32.0.txt").read_text()
"""A real page, less buckets: six requests were running, one had been finished."""


def values(page: str) -> dict[str, float]:
    return {reading.name: reading.value for reading in vllm_readings(page)}


def test_a_real_page_is_read_under_our_names() -> None:
    assert values(PAGE) == {
        "inflight_scheduled_requests": 6,
        "inflight_waiting_requests": 0,
        "inflight_active_requests": 6,
        "engine_preemptions": 0,
        "prefix_cache_queries": 291,
        "prefix_cache_hits": 0,
        "engine_input_tokens": 291,
        "engine_output_tokens": 359,
        "engine_iterations": 64,
        "engine_requests": 1,
        "engine_queue_ns": pytest.approx(31_827, abs=1),
        "engine_prefill_ns": pytest.approx(47_142_673, abs=1),
        "engine_decode_ns": pytest.approx(108_722_728, abs=1),
        "kv_blocks_max": 363,
        "kv_blocks_used": 6,
        "kv_blocks_free": 357,
        "kv_block_tokens": 128,
    }


def test_engines_of_one_server_are_summed() -> None:
    second = PAGE.replace('engine="0"', 'engine="1"')
    both, one = values(PAGE + second), values(PAGE)
    assert both == {name: value * (1 if name == "kv_block_tokens" else 2) for name, value in one.items()}


def test_a_share_of_an_unknown_number_of_blocks_has_no_blocks() -> None:
    assert "kv_blocks_used" in values(PAGE)
    assert not {name for name in values(PAGE.replace('num_gpu_blocks="364"', 'num_gpu_blocks="None"')) if name.startswith("kv_")}


def test_another_page_has_no_readings() -> None:
    assert vllm_readings('nv_inference_count{model="m",version="1"} 3\nvllm:other{a="b"} 4\n') == []


@given(st.text(alphabet='{}=",.\n 0123456789aeNn-', max_size=60))
def test_no_text_behind_a_name_stops_a_reading(text: str) -> None:
    vllm_readings(f"vllm:kv_cache_usage_perc{{{text}}} 1\nvllm:cache_config_info{{{text}\nvllm:num_requests_running{{{text}")
