"""Limits on the latencies of one record agree with the analysis of columns."""

from __future__ import annotations

from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import columns
from trtbench.analysis.stage.throughput import keeps
from trtbench.rundir.latency_limits import INCOMPLETE, LatencyLimit, LatencyName, broken_limits
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.measurement import Slo

MS = 1_000_000
KEYS: dict[LatencyName, str] = {"ttft": "ttft_ms", "itl": "itl_ms", "tpot": "tpot_ms", "e2e": "e2e_latency_ms"}


def record(arrivals_ms: list[int], counts: list[int] | None = None, done_ms: int | None = 100, **fields: Any) -> RequestRecord:
    made = RequestRecord(0, "s", False, 0, 8, 8, 0, done_ns=None if done_ms is None else done_ms * MS, outcome=Outcome.COMPLETED)
    made.token_ns, made.token_counts = [at * MS for at in arrivals_ms], counts or [1] * len(arrivals_ms)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@given(
    gaps_ms=st.lists(st.integers(0, 50), max_size=6),
    counts=st.lists(st.integers(0, 3), min_size=6, max_size=6),
    limits_ms=st.lists(st.integers(1, 100), min_size=4, max_size=4),
    asked=st.sampled_from((0, 8)),
    outcome=st.sampled_from((Outcome.COMPLETED, Outcome.TIMEOUT)),
)
def test_as_the_columns_have_it(gaps_ms: list[int], counts: list[int], limits_ms: list[int], asked: int, outcome: Outcome) -> None:
    arrivals = [sum(gaps_ms[: i + 1]) for i in range(len(gaps_ms))]
    made = record(arrivals, counts[: len(arrivals)], sum(gaps_ms) + 1, asked_output_tokens=asked, outcome=outcome)
    for latency, limit_ms in zip(get_args(LatencyName), limits_ms, strict=True):
        kept = bool(keeps(columns([made]), Slo.model_validate({KEYS[latency]: limit_ms}))[0])
        assert (broken_limits(made, [LatencyLimit(latency, limit_ms * MS)]) == 0) is kept, latency


def test_each_limit_has_its_bit() -> None:
    limits = [LatencyLimit("ttft", 5 * MS), LatencyLimit("tpot", 5 * MS), LatencyLimit("e2e", 500 * MS)]
    assert broken_limits(record([3, 4, 5]), limits) == 0
    assert broken_limits(record([6, 7, 8]), limits) == 0b001
    assert broken_limits(record([3, 10, 17]), limits) == 0b010
    assert broken_limits(record([6, 20, 40], done_ms=600), limits) == 0b111


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome is not Outcome.COMPLETED])
def test_a_request_that_did_not_complete_breaks_every_limit(outcome: Outcome) -> None:
    bits = broken_limits(record([1], outcome=outcome), [LatencyLimit("ttft", 5 * MS)])
    assert bits == INCOMPLETE and all(bits >> place & 1 for place in range(8))
