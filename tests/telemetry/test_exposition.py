from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from trtbench.telemetry.exposition import Reading, engine_readings

FIXTURES = Path(__file__).parents[1] / "fixtures"
REAL_PAGE = (FIXTURES / "metrics_triton_2.51.0.txt").read_text()
TRTLLM_PAGE = (FIXTURES / "metrics_trtllm_written_by_hand.txt").read_text()


def test_real_page_gives_the_queue_of_the_asked_model_only() -> None:
    page = REAL_PAGE.replace('count{model="demo",version="1"} 0', 'count{model="demo",version="1"} 7').replace(
        'pending_request_count{model="demo",version="2"} 0', 'pending_request_count{model="demo",version="2"} 5'
    )
    assert engine_readings(page, "demo") == [Reading("triton_pending_requests", "", 5.0)]  # version 2 of 1 and 2
    assert engine_readings(page, "other") == [Reading("triton_pending_requests", "", 0.0)]
    assert engine_readings(page, "absent") == []


def test_trtllm_page_gives_every_documented_series_once() -> None:
    readings = engine_readings(TRTLLM_PAGE, "tensorrt_llm")
    assert {reading[:2]: reading.value for reading in readings} == {
        ("triton_pending_requests", ""): 3,
        ("inflight_active_requests", ""): 40,
        ("inflight_max_requests", ""): 64,
        ("inflight_scheduled_requests", ""): 32,
        ("inflight_waiting_requests", ""): 8,
        ("inflight_context_requests", ""): 4,
        ("engine_output_tokens", ""): 4000,
        ("engine_memory_bytes", "cpu"): 1048576,
        ("engine_memory_bytes", "gpu"): 8.5e9,
        ("engine_memory_bytes", "pinned"): 0,
        ("kv_blocks_max", ""): 6239,
        ("kv_blocks_free", ""): 6139,
        ("kv_blocks_used", ""): 100,
        ("kv_block_tokens", ""): 64,
        ("kv_blocks_reused", ""): 7,
        ("inflight_context_tokens", ""): 512,
        ("inflight_generation_requests", ""): 28,
        ("inflight_paused_requests", ""): 1,
        ("engine_iterations", ""): 4711,
    }
    assert len(readings) == 19


def test_names_are_those_of_the_documentation() -> None:
    documented = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text()
    for reading in engine_readings(TRTLLM_PAGE, "tensorrt_llm"):
        assert f"`{reading.name}`" in documented


@pytest.mark.parametrize("page", [REAL_PAGE, TRTLLM_PAGE])
def test_agrees_with_a_whole_parser(page: str) -> None:
    parsed = [s for family in text_string_to_metric_families(page) for s in family.samples]
    pending = {s.labels["model"]: s.value for s in parsed if s.name == "nv_inference_pending_request_count" and s.labels["version"] == "1"}
    for model, value in pending.items():
        readings = engine_readings(page.replace('version="2"', 'version="x"'), model)
        assert [r.value for r in readings if r.name == "triton_pending_requests"] == [value]


@pytest.mark.parametrize(
    "line",
    [
        'nv_trt_llm_request_metrics{model="m",request_type="active",version="1"} NaN',
        'nv_trt_llm_request_metrics{model="m",request_type="active",version="1"} +Inf',
        'nv_trt_llm_request_metrics{model="m",request_type="active",version="1"} ',
        'nv_trt_llm_request_metrics{model="m",request_type="active",version="1"',
        'nv_trt_llm_request_metrics{model="m",request_type="active",vers',
        'nv_trt_llm_request_metrics{model="m",request_type="brand_new",version="1"} 1',
        'nv_trt_llm_request_metrics{model="m",version="1"} 1',
        'nv_trt_llm_request_metrics{model="m",request_type="active"} 1',
        "nv_trt_llm_request_metrics{",
        'nv_trt_llm_request_metrics{model="m",request_type="active",version="1"} 1' + 400 * "0",
        'nv_trt_llm_request_metrics{model="m",request_type="active",request_type="max",version="1"} 1',
        'nv_trt_llm_request_metrics_created{model="m",request_type="active",version="1"} 1',
        '# nv_trt_llm_request_metrics{model="m",request_type="active",version="1"} 1',
    ],
)
def test_lines_that_say_nothing_are_left_out(line: str) -> None:
    assert engine_readings(line, "m") == []


def test_timestamp_after_the_value_and_any_order_of_labels() -> None:
    line = 'nv_trt_llm_request_metrics{version="10",request_type="active",gpu_uuid="a}b,{",model="m"} 1e3 1700074049000'
    assert engine_readings(line.replace('"10"', '"9"').replace("1e3", "9") + "\n" + line, "m") == [
        Reading("inflight_active_requests", "", 1000.0)  # 10 is after 9
    ]


@given(st.text(min_size=1), st.floats(allow_nan=False, allow_infinity=False))
def test_reads_what_the_prometheus_client_writes(model: str, value: float) -> None:
    registry = CollectorRegistry()
    gauge = Gauge("nv_trt_llm_request_metrics", "", ["model", "version", "request_type"], registry=registry)
    try:
        text = _page(registry, gauge, model, value)
    except UnicodeEncodeError:  # lone surrogates cannot be on a page
        return
    assert engine_readings(text, model) == [Reading("inflight_active_requests", "", value)]


def _page(registry: CollectorRegistry, gauge: Gauge, model: str, value: float) -> str:
    gauge.labels(model, "1", "active").set(value)
    return generate_latest(registry).decode()


@given(st.text())
def test_no_page_makes_it_fail(page: str) -> None:
    engine_readings(page, "m")
    engine_readings('nv_trt_llm_request_metrics{model="m",' + page, "m")


def test_the_cpu_engines_counters_have_a_label_a_value() -> None:
    page = """
trtbench_engine_steps{model="m",version="1",scheduled_requests="3"} 7
trtbench_engine_steps{model="m",version="1",scheduled_requests="16"} 2
trtbench_engine_tokens{model="m",version="1",made="in_company"} 53
"""
    assert engine_readings(page, "m") == [
        Reading("inflight_steps", "3", 7.0),
        Reading("inflight_steps", "16", 2.0),
        Reading("inflight_tokens", "in_company", 53.0),
    ]


def test_the_response_cache_is_the_whole_servers() -> None:
    values = {"nv_cache_util": 0.73, "nv_cache_num_entries": 9, "nv_cache_num_evictions": 0, "nv_cache_utility": 5, "nv_cache_num_hits": 3}
    page = "# HELP nv_cache_util used\n" + "".join(f"{family} {value}\n" for family, value in values.items())
    assert engine_readings(page, "demo") == [
        Reading("response_cache_used_ratio", "", 0.73),
        Reading("response_cache_entries", "", 9.0),
        Reading("response_cache_evictions", "", 0.0),
    ]
