from __future__ import annotations

from dataclasses import replace

import pytest

from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stage.workers import Worker
from trtbench.analysis.stats.percentile import Distribution
from trtbench.analysis.stats.window import Level
from trtbench.analysis.summary import Summary
from trtbench.analysis.transport import Transport
from trtbench.analysis.verdict.client_validity import client_reasons, transport_reasons
from trtbench.analysis.verdict.verdict import Grade, Reason

MS = 1_000_000
GOOD = Transport("wire", "uvloop", "kernel", "", 8, 0, 1000, 0, 1e-6, 0)


def graded(stage: StageResult) -> dict[str, Grade]:
    found = client_reasons(lambda code, grade, **figures: Reason(code, grade, figures=figures), stage)
    return {reason.code: reason.grade for reason in found}


@pytest.fixture
def stage(summary: Summary) -> StageResult:
    return summary.deployments[0].stages[1]


@pytest.fixture
def open_stage(summary: Summary) -> StageResult:
    return summary.deployments[0].stages[3]


def with_workers(stage: StageResult, *workers: Worker) -> StageResult:
    return replace(stage, resources=replace(stage.resources, client_workers={str(i): worker for i, worker in enumerate(workers)}))


def worker(cores: float = 0.1, lag_p50_ns: float = 0.0, pause_ns: float = 0.0) -> Worker:
    return Worker(Level(cores, cores, cores), None, lag_p50_ns, Level(pause_ns, pause_ns, pause_ns))


def with_stamps(stage: StageResult, coalesced_ratio: float, lag_ms: float | None, gap_ms: float) -> StageResult:
    stamps = replace(stage.stamps, coalesced_ratio=coalesced_ratio, lag_p99_ns=None if lag_ms is None else lag_ms * MS)
    gaps = replace(stage.latency.itl_ns, mean=gap_ms * MS)
    return replace(stage, stamps=stamps, latency=replace(stage.latency, itl_ns=gaps))


@pytest.mark.parametrize(
    ("lag_ms", "ttft_ms", "grade"),
    [(4, 10, None), (6, 10, "suspect"), (51, 10, "invalid"), (60, 2000, None), (120, 2000, "suspect"), (1100, 2000, "invalid")],
)
def test_send_lag_counts_beside_what_it_would_distort(stage: StageResult, lag_ms: int, ttft_ms: int, grade: str | None) -> None:
    typical = replace(stage.latency, ttft_ns=replace(stage.latency.ttft_ns, p50=ttft_ms * MS))
    late = replace(stage, latency=typical, sending=replace(stage.sending, lag_p99_ns=lag_ms * MS))
    assert graded(late).get("send_lag") == grade


@pytest.mark.parametrize(
    ("ratio", "grade"), [(None, None), (1.0, None), (0.996, None), (0.994, "note"), (0.979, "suspect"), (1.006, "note"), (1.03, "suspect")]
)
def test_the_rate_of_sending_is_the_plans(open_stage: StageResult, ratio: float | None, grade: str | None) -> None:
    assert graded(replace(open_stage, sending=replace(open_stage.sending, rate_ratio=ratio))).get("rate_off") == grade


@pytest.mark.parametrize(
    ("coalesced", "lag_ms", "expected"),
    [
        (0.9, 0.03, {}),  # a server that sends several at once, read at once: off by microseconds
        (0.005, 5.0, {}),  # late, but hardly a stamp is inexact
        (0.02, 0.6, {"coalesced": "suspect"}),
        (0.9, 4.0, {"coalesced": "suspect"}),
        (0.6, 6.0, {"coalesced": "invalid"}),
        (0.0, 9.0, {}),
        (0.0, 11.0, {"stamp_lag": "suspect"}),
        (0.6, 11.0, {"coalesced": "invalid"}),  # said once
        (0.9, None, {}),  # user-space stamps: what they are off by is not known, the loop's lag is judged instead
    ],
)
def test_stamps_are_doubted_where_it_shows(stage: StageResult, coalesced: float, lag_ms: float | None, expected: dict[str, Grade]) -> None:
    assert graded(with_stamps(stage, coalesced, lag_ms, gap_ms=10.0)) == expected


def test_a_stage_without_tokens_gives_no_doubt_of_its_stamps(stage: StageResult) -> None:
    nothing = replace(stage.latency, itl_ns=Distribution(0), ttft_ns=Distribution(0))
    assert graded(replace(stage, latency=nothing)) == {}


def test_each_worker_has_a_core_of_its_own(stage: StageResult) -> None:
    assert graded(with_workers(stage, worker(0.8), worker(0.8), worker(0.8))) == {}
    assert graded(with_workers(stage, worker(0.2), worker(0.9))) == {"client_cpu": "suspect"}


def test_a_loop_that_is_late_in_one_worker(stage: StageResult) -> None:
    assert graded(with_workers(stage, worker(lag_p50_ns=9.0 * MS), worker())) == {}
    assert graded(with_workers(stage, worker(), worker(lag_p50_ns=11.0 * MS))) == {"loop_lag": "suspect"}


@pytest.mark.parametrize(("pause_ms", "grade"), [(0.0, None), (4.9, None), (5.1, "note"), (51.0, "suspect")])
def test_a_collection_in_a_stage(stage: StageResult, pause_ms: float, grade: str | None) -> None:
    assert graded(with_workers(stage, worker(), worker(pause_ns=pause_ms * MS))).get("gc_pause") == grade


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ((), {}),  # format 1
        ((GOOD, GOOD), {}),
        ((GOOD, replace(GOOD, stamps="user", why="SO_TIMESTAMPING: refused")), {"user_stamps": "note"}),
        ((replace(GOOD, clock_steps=1, clock_drift_ratio=1.0),), {"clock_step": "suspect"}),
        ((GOOD, replace(GOOD, clock_drift_ratio=2e-4)), {"clock_drift": "note"}),
        ((replace(GOOD, stamp_fallbacks=10),), {}),
        ((replace(GOOD, stamp_fallbacks=11),), {"stamp_fallbacks": "note"}),
        ((replace(GOOD, paced_reads=10_000, paced_reads_crowded=10),), {}),
        ((GOOD, replace(GOOD, paced_reads=10_000, paced_reads_crowded=11)), {"paced_reads_crowded": "note"}),
        ((replace(GOOD, paced_reads=10_000, paced_end_lag_p99_ns=1_000_000),), {}),
        ((GOOD, replace(GOOD, paced_reads=10_000, paced_end_lag_p99_ns=1_000_001)), {"paced_ends": "note"}),
    ],
)
def test_facts_of_the_workers_as_reasons(summary: Summary, told: tuple[Transport, ...], expected: dict[str, Grade]) -> None:
    found = transport_reasons(replace(summary.deployments[0], transports=told))
    assert {reason.code: reason.grade for reason in found} == expected
