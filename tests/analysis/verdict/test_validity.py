from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.having import measured
from trtbench.analysis.stage.resources import GpuUse
from trtbench.analysis.stage.stage import StageResult
from trtbench.analysis.summary import Summary
from trtbench.analysis.verdict.validity import run_reasons, sample_reasons, stage_reasons
from trtbench.analysis.verdict.verdict import Reason


def reasons(summary: Summary, **changed: object) -> dict[str, Reason]:
    result = summary.deployments[0]
    stage: StageResult = replace(result.stages[1], **changed)  # type: ignore[arg-type]
    return {reason.code: reason for reason in stage_reasons(result, stage, summary.scenario, 2)}


def test_nothing_is_held_against_a_sound_stage(summary: Summary) -> None:
    assert not reasons(summary)


def test_wrong_output_length_lost_records_and_ends(summary: Summary) -> None:
    stage = summary.deployments[0].stages[1]
    assert reasons(summary, wrong_length=1)["output_length"].grade == "suspect"
    assert reasons(summary, conservation=replace(stage.conservation, unrecorded=1))["equation"].grade == "invalid"
    for ended, grade in (("server_lost", "invalid"), ("broken_off", "invalid"), ("error_bound", "note")):
        assert reasons(summary, span=replace(stage.span, ended=ended))[ended].grade == grade


def test_what_came_is_held_against_what_was_asked_however_the_outputs_end(summary: Summary) -> None:
    lengths = {"wrong_length": 3, "over_length": 1, "estimated_off": 2}
    assert reasons(summary, **lengths).keys() == {"output_length", "output_length_estimated"}
    workload = summary.scenario.workload.model_copy(update={"ignore_eos": False})
    ends = replace(summary, scenario=summary.scenario.model_copy(update={"workload": workload}))
    found = reasons(ends, **lengths)
    assert {code: (found[code].grade, found[code].figures["count"]) for code in found} == {
        "output_beyond": ("suspect", 1),
        "output_short": ("note", 2),
    }


def test_answers_without_output_are_a_doubt_with_their_share(summary: Summary) -> None:
    stage = summary.deployments[0].stages[1]
    found = reasons(summary, conservation=replace(stage.conservation, failed_by_class={"empty": 6}))["output_empty"]
    assert found.grade == "suspect" and found.figures == {
        "count": 6,
        "planned": stage.conservation.planned,
        "share_ratio": 6 / stage.conservation.planned,
    }


def test_throttled_gpu(summary: Summary) -> None:
    use = summary.deployments[0].stages[1].resources
    hot = replace(
        use,
        gpus={"0": GpuUse(None, None, None, None, None, None, throttle_ratios={"power_cap": 0.5, "hw_thermal": 0.02, "sw_thermal": 0.01})},
    )
    found = reasons(summary, resources=hot)
    assert {code: found[code].grade for code in found if code.startswith("gpu")} == {"gpu_power_cap": "note", "gpu_hw_thermal": "suspect"}


def test_an_interrupt_is_a_doubt_and_a_kill_is_worse(summary: Summary) -> None:
    run = measured(summary, summary.deployments)
    assert [r.code for r in run_reasons(False, replace(run, interrupted=True), summary.found)] == ["interrupted"]
    assert [(r.code, r.grade) for r in run_reasons(False, run, summary.found)] == [("incomplete", "invalid")]
    assert [*run_reasons(True, run, summary.found)] == []


def test_samples_too_few_for_p99_are_a_note_and_for_a_median_a_doubt(summary: Summary) -> None:
    assert [r.code for r in sample_reasons(summary.deployments)] == ["few_for_p99"]
    result = summary.deployments[0]
    latency = result.stages[0].latency
    few = replace(result.stages[0], latency=replace(latency, e2e_latency_ns=replace(latency.e2e_latency_ns, count=19)))
    codes = {r.code: r for r in sample_reasons([replace(result, stages=(few,))])}
    assert codes["few_samples"].grade == "suspect" and codes["few_samples"].figures == {"stages": "c1 (19)", "needed": 20}


@pytest.mark.parametrize(("cores", "expected"), [(None, False), (0.3, False), (0.31, True)])
def test_a_shared_machine_is_a_doubt(summary: Summary, cores: float | None, expected: bool) -> None:
    assert ("foreign_load" in reasons(summary, foreign_cpu_cores=cores)) is expected
