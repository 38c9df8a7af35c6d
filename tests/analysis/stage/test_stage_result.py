from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from tests.support.records import columns, request_of, samples_of
from trtbench.analysis.deployment_result import throughput_curve
from trtbench.analysis.stage.late_counts import without_late_counts
from trtbench.analysis.stage.resources import resources
from trtbench.analysis.stage.stage_result import StageSpan, backlog_grew, by_stage, foreign_cpu_cores, stage_spans
from trtbench.analysis.summary import Summary
from trtbench.rundir.event_kinds import StageFinished
from trtbench.rundir.records import Event

STARTED = Event(5, "stage_started", "d", {"name": "c1", "mode": "concurrency", "asked": 1, "planned": 9})


def test_a_finished_window_replaces_its_start() -> None:
    window = StageFinished("c1", "concurrency", 1, 5, 80, 9, "done")
    finished = Event(80, "stage_finished", "d", asdict(window))
    assert stage_spans([STARTED, finished], columns([])) == [StageSpan("c1", "concurrency", 1, 5, 80, 9, "done")]


def test_between_a_request_and_the_border_beside_it_only_the_border_is_read() -> None:
    window = StageFinished("c1", "concurrency", 1, 20, 80, 9, "done", counted_from_ns=10, counted_to_ns=90)
    series = {(name, ""): [(at, at) for at in (5, 10, 15, 20, 50, 80, 85, 90, 95)] for name in ("triton_success_count", "kv_blocks_used")}
    left = without_late_counts(samples_of(series), [STARTED, Event(80, "stage_finished", "d", asdict(window))])
    assert left.series("triton_success_count")[0].tolist() == [5, 10, 50, 90, 95]
    assert left.series("kv_blocks_used")[0].tolist() == [5, 10, 15, 20, 50, 80, 85, 90, 95]


def test_runs_that_recorded_no_borders_are_read_as_they_are() -> None:
    data = asdict(StageFinished("c1", "concurrency", 1, 20, 80, 9, "done"))
    older = {name: value for name, value in data.items() if name not in ("counted_from_ns", "counted_to_ns", "not_counted")}
    samples = samples_of({("triton_success_count", ""): [(15, 1), (85, 2)]})
    assert all(without_late_counts(samples, [Event(80, "stage_finished", "d", each)]) is samples for each in (data, older))


def test_a_stage_without_a_window_ends_with_its_last_known_instant() -> None:
    records = [request_of(6, [20, 30]), request_of(7, [50], done_ns=None), request_of(1, [2], warmup=True)]
    assert stage_spans([STARTED], columns(records)) == [StageSpan("c1", "concurrency", 1, 5, 50, 9, "broken_off")]
    assert stage_spans([STARTED], columns([])) == [StageSpan("c1", "concurrency", 1, 5, 5, 9, "broken_off")]


def test_warm_up_is_not_measured() -> None:
    assert {name: len(rows) for name, rows in by_stage(columns([request_of(0, [1]), request_of(0, [1], warmup=True)])).items()} == {"c1": 1}


@pytest.mark.parametrize(
    ("mode", "ramp_from", "held"),
    [("concurrency", None, True), ("poisson", None, True), ("concurrency", 1.0, False), ("burst", None, False), ("trace", None, False)],
)
def test_only_a_level_that_was_held_is_a_point_of_a_curve(summary: Summary, mode: str, ramp_from: float | None, held: bool) -> None:
    result = summary.deployments[0]
    stages = tuple(replace(s, ramp_from=ramp_from, span=replace(s.span, mode=mode)) for s in result.stages[:3])
    assert [stage.held_level for stage in stages] == [held] * 3
    assert len(throughput_curve(stages)) == (3 if held and mode == "concurrency" else 0)


def test_a_stage_that_ended_because_it_was_steady_supports_its_rates(summary: Summary) -> None:
    stage = summary.deployments[0].stages[0]
    ended = {end: replace(stage, span=replace(stage.span, ended=end)).supports_rates for end in ("done", "steady", "interrupted")}
    assert ended == {"done": True, "steady": True, "interrupted": False}


@pytest.mark.parametrize(
    ("ttfts", "grew"), [([10] * 80, False), ([10] * 20 + [15] * 40 + [21] * 20, True), ([10] * 20 + [20] * 60, False), ([1] * 79, None)]
)
def test_backlog(ttfts: list[int], grew: bool | None) -> None:
    assert backlog_grew(np.array(ttfts)) is grew


def test_cpu_that_is_neither_the_servers_nor_the_clients() -> None:
    read = {"machine_cpu_ratio": 0.9, "server_cpu_cores": 1.0, "client_cpu_cores": 0.2}
    use = resources(samples_of({(name, ""): [(1, value)] for name, value in read.items()}), 0, 9)
    assert foreign_cpu_cores(use, 2) == pytest.approx(0.6)
    assert foreign_cpu_cores(use, 1) == 0.0
    assert foreign_cpu_cores(resources(samples_of({}), 0, 9), 2) is None
