from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.errors import UserError
from trtbench.experiments.imported.foreign_report import LACKS, iteration_of, report_of

FIXTURES = Path(__file__).parents[2] / "fixtures"
REPORT = FIXTURES / "report_trtllm_bench_written_by_hand.json"
LOG = FIXTURES / "iterations_trtllm_bench_written_by_hand.log"


def test_figures_keep_their_names_and_facts_their_words() -> None:
    found = report_of(json.loads(REPORT.read_text()), "r.json")
    figures = {figure.name: figure.value for figure in found.figures}
    assert figures["performance.request_latency_percentiles_ms.p99"] == 2111.0 and figures["request_info.num_requests"] == 100
    assert (found.facts["engine.dtype"], found.facts["world_info.issue_rate"]) == ("bfloat16", "inf")
    assert (found.tool, found.file, found.lacks) == ("trtllm-bench", "r.json", LACKS)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ([], "r.json is not a JSON object"),
        ({}, "r.json has no performance.total_latency_ms above 0"),
        ({"performance": {"total_latency_ms": True}}, "no performance.total_latency_ms above 0"),
        ({"performance": {"total_latency_ms": 5}, "request_info": None}, "no request_info.num_requests above 0"),
    ],
)
def test_another_file_is_refused(value: Any, says: str) -> None:
    with pytest.raises(UserError, match=says):
        report_of(value, "r.json")


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(st.sampled_from(["engine", "machine", "performance", "request_info", "energy", "dataset"]), trees))
def test_any_object_is_a_report_or_refused(blocks: dict[str, Any]) -> None:
    try:
        found = report_of(blocks | {"performance": {"total_latency_ms": 5}, "request_info": {"num_requests": 1}}, "r")
    except UserError:
        pytest.fail("it has what is needed")
    assert all(abs(figure.value) < 1e15 for figure in found.figures)


def test_an_iteration_becomes_series() -> None:
    lines = LOG.read_text().splitlines()
    first, second = iteration_of(lines[0]), iteration_of(lines[1])
    assert first and second and second.time_ns - first.time_ns == 200_000_000
    assert "inflight_scheduled_requests" not in first.values  # its inflightBatchingStats is None
    assert (second.values["inflight_scheduled_requests"], second.values["kv_blocks_used"], second.values["engine_iterations"]) == (10, 6, 1)
    assert iteration_of(lines[-1]) is None


@given(st.text(max_size=40) | st.sampled_from(["(" * 5000, "{'timestamp': 5}", "{'timestamp': '13-45-2026 10:15:46.000000'}", "9" * 5000]))
def test_any_line_is_an_iteration_or_not(line: str) -> None:
    assert iteration_of(line) is None
