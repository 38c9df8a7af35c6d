"""Survivors beside the same requests in a stage without cancels, on two stages of planted speed."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import cast

import pytest

from tests.support.records import MS, columns, request_of
from trtbench.analysis.facts import deployment_facts
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.experiments.kv_cache.cancel_control import CancelControl, cancel_controls
from trtbench.rundir.deployment_facts import DeploymentFile, EngineFile
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.rundir.requests import Requests
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario

NO_FACTS = deployment_facts("d", DeploymentFile(), EngineFile())

COUNT, TOKENS, EVERY = 40, 11, 4


def scenario(**control: object) -> Scenario:
    first = {"concurrency": 1, "requests": COUNT}
    second = first | {"same_as": "c1", "cancel_ratio": 0} | control
    load = [{key: value for key, value in stage.items() if value is not None} for stage in (first, second)]
    workload = {"output_tokens": TOKENS, "cancel": {"ratio": 0.25, "after_tokens": 2}}
    return parse_scenario({"name": "x", "load": load, "workload": workload, "slo": {"ttft_ms": 150}}, "x.yaml")


@dataclass
class Loop:
    """A user alone: TTFT, then gaps, all alike; with cancels every fourth request goes after two tokens."""

    stage: str
    ttft_ms: int
    gap_ms: int
    cancels: bool

    def requests(self) -> list[RequestRecord]:
        now_ns, made = 0, []
        for index in range(COUNT):
            goes = self.cancels and index % EVERY == 0
            token_ns = [now_ns + (self.ttft_ms + i * self.gap_ms) * MS for i in range(2 if goes else TOKENS)]
            outcome = Outcome.CANCELLED if goes else Outcome.COMPLETED
            more = {"stage": self.stage, "index": index, "asked_output_tokens": TOKENS, "planned_cancel": goes}
            made.append(request_of(now_ns, token_ns, outcome, **more))
            now_ns = token_ns[-1]
        return made


BESIDE = Loop("c1", 100, 10, cancels=True)  # 30 of 200 ms and 10 of 110 ms: 7.1 s
WITHOUT = Loop("c1-cancel0", 200, 20, cancels=False)  # 40 of 400 ms: 16 s


def stage(name: str, ended: str = "done", foreign_cores: float = 0.1) -> StageResult:
    return cast(StageResult, SimpleNamespace(span=SimpleNamespace(name=name, ended=ended), foreign_cpu_cores=foreign_cores))


def by_name(records: dict[str, list[RequestRecord]]) -> dict[str, Requests]:
    return {name: columns(of_stage) for name, of_stage in records.items()}


def controls(*loops: Loop, asked: Scenario | None = None, ended: str = "done", prefix_caching: bool = False) -> tuple[CancelControl, ...]:
    records = {loop.stage: loop.requests() for loop in loops}
    facts = deployment_facts("d", DeploymentFile(config={"kv_cache": {"prefix_caching": prefix_caching}}), EngineFile())
    return cancel_controls([stage(loop.stage, ended) for loop in loops], by_name(records), asked or scenario(), facts, 2)


def test_the_planted_difference_is_found() -> None:
    [found] = controls(BESIDE, WITHOUT)
    assert (found.stage, found.control, found.cancelled_ratio, found.compared) == ("c1", "c1-cancel0", 0.25, 30)
    assert found.beside.tokens_per_s == pytest.approx(30 * TOKENS / 7.1)
    assert found.without.tokens_per_s == pytest.approx(30 * TOKENS / 16)
    assert found.beside.goodput == pytest.approx(30 / 7.1)
    assert found.without.goodput == 0, "TTFT of 200 ms is over the SLO of 150"
    assert (found.beside.ttft_ns.p50, found.without.ttft_ns.p50) == (100 * MS, 200 * MS)
    assert (found.beside.tpot_ns.p50, found.without.tpot_ns.p50) == (10 * MS, 20 * MS)
    assert (found.beside.e2e_latency_ns.p50, found.without.e2e_latency_ns.p50) == (200 * MS, 400 * MS)
    assert found.beside.ttft_ns.p99 is None, "30 requests tell no P99"


def test_only_requests_that_completed_in_both_are_compared() -> None:
    records = {"c1": BESIDE.requests(), "c1-cancel0": WITHOUT.requests()}
    records["c1-cancel0"][1].outcome = Outcome.TIMEOUT
    [found] = cancel_controls([stage("c1"), stage("c1-cancel0")], by_name(records), scenario(), NO_FACTS, 2)
    assert found.compared == found.beside.ttft_ns.count == found.without.ttft_ns.count == 29


def test_tokens_that_nobody_counts_are_no_rate_of_zero() -> None:
    records = {"c1": BESIDE.requests(), "c1-cancel0": WITHOUT.requests()}
    for request in records["c1-cancel0"]:
        request.token_counts = [0] * len(request.token_counts)
    [found] = cancel_controls([stage("c1"), stage("c1-cancel0")], by_name(records), scenario(), NO_FACTS, 2)
    assert found.without.tokens_per_s is None and found.beside.tokens_per_s
    assert found.without.ttft_ns.p50 == 200 * MS


@pytest.mark.parametrize(("cores", "disturbed"), [(0.1, False), (1.5, True)])
def test_what_other_programs_took_is_said(cores: float, disturbed: bool) -> None:
    records = {"c1": BESIDE.requests(), "c1-cancel0": WITHOUT.requests()}
    stages = [stage("c1"), stage("c1-cancel0", foreign_cores=cores)]
    [found] = cancel_controls(stages, by_name(records), scenario(), NO_FACTS, 2)
    assert found.disturbed is disturbed


def test_a_second_control_shows_how_much_two_equal_stages_differ() -> None:
    load = [
        {"concurrency": 1, "requests": COUNT},
        *({"concurrency": 1, "requests": COUNT, "same_as": "c1", "cancel_ratio": 0, "name": n} for n in "ab"),
    ]
    asked = parse_scenario({"name": "x", "load": load, "workload": {"cancel": {"ratio": 0.25, "after_tokens": 2}}}, "x")
    first, second = controls(BESIDE, Loop("a", 200, 20, cancels=False), Loop("b", 220, 20, cancels=False), asked=asked)
    assert (first.stage, first.control, first.compared) == ("c1", "a", 30)
    assert (second.stage, second.control, second.cancelled_ratio, second.compared) == ("b", "a", 0, COUNT)
    assert (second.beside.ttft_ns.p50, second.without.ttft_ns.p50) == (220 * MS, 200 * MS)


def test_no_pair_where_there_is_none() -> None:
    other = parse_scenario(scenario().model_dump() | {"load": [{"concurrency": 1, "requests": 1}]}, "x")
    alone = parse_scenario(
        {"name": "x", "load": [{"concurrency": 1, "requests": COUNT}, {"concurrency": 1, "requests": COUNT, "name": "c1-cancel0"}]}, "x"
    )
    assert controls(BESIDE) == ()
    assert controls(BESIDE, WITHOUT, asked=other) == ()
    assert controls(BESIDE, WITHOUT, asked=alone) == (), "of like shape, but of other requests"
    assert controls(BESIDE, WITHOUT, ended="interrupted") == ()
    assert controls(BESIDE, WITHOUT, prefix_caching=True) == (), "the second stage finds its prompts in the cache"
    assert controls(BESIDE, Loop("c1-cancel0", 100, 10, cancels=True)) == (), "a control has no cancels"


def test_a_closed_loop_that_ends_by_time_is_no_pair() -> None:
    by_time = [{"concurrency": 1, "duration_s": 60}, {"concurrency": 1, "duration_s": 60, "same_as": "c1", "cancel_ratio": 0}]
    asked = parse_scenario({"name": "x", "load": by_time, "workload": {"cancel": {"ratio": 0.25, "after_tokens": 2}}}, "x")
    assert controls(BESIDE, WITHOUT, asked=asked) == ()
