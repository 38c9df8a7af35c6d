"""GPUs that are saturated, used in part, starved or slowed down, each with what the rule must not say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.finding_rules import Change, far_away, found, gpu_used, level, queued
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.summary import Summary
from trtbench.analysis.verdict.findings.processors import Feeding


def starved(summary: Summary, change: Change) -> set[str]:
    return {code for code in found(summary, change, max_sequences=32) if code.startswith("starved_")}


@pytest.mark.parametrize(
    ("change", "cause"),
    [
        (queued(0.5), "unknown"),
        (queued(0.5, copies=0.4), "copies"),
        (queued(0.5, machine=0.95), "cpu"),
        (queued(0.5, copies=0.4, worker=0.95), "client"),
    ],
)
def test_what_a_starved_gpu_waits_for(summary: Summary, change: Change, cause: Feeding) -> None:
    assert starved(summary, change) == {f"starved_{cause}"}


def test_time_outside_the_servers_own_is_the_network(summary: Summary) -> None:
    assert starved(summary, far_away) == {"starved_network"}


@pytest.mark.parametrize(
    "change",
    [queued(0.7), queued(0.5, waiting=level(0)), queued(0.5, running=level(32))],
    ids=["used enough", "nobody waits", "the running batch is full"],
)
def test_a_gpu_that_nothing_starves(summary: Summary, change: Change) -> None:
    assert starved(summary, change) == set()


@pytest.mark.parametrize(("used", "expected"), [(0.69, False), (0.7, True), (0.89, True), (0.9, False)])
def test_the_band_between_starved_and_saturated(summary: Summary, used: float, expected: bool) -> None:
    codes = found(summary, queued(used, waiting=level(0)))
    assert ("gpu_partly_used" in codes) is expected
    assert not expected or not codes["gpu_partly_used"].limits


@pytest.mark.parametrize(("share", "expected", "limits"), [(0.01, False, False), (0.05, True, False), (0.5, True, True)])
def test_a_lowered_clock_limits_throughput_where_it_is_frequent(summary: Summary, share: float, expected: bool, limits: bool) -> None:
    def throttled(stage: StageResult) -> StageResult:
        return replace(stage, resources=replace(stage.resources, gpus={"0": gpu_used(0.95, sw_thermal=share)}))

    finding = found(summary, throttled).get("gpu_throttled")
    assert (finding is not None) is expected
    assert not finding or (finding.figures["throttle"], finding.figures["mhz"], finding.limits) == ("sw_thermal", "1400", limits)
