"""A stage that sends another's requests again, with other cancellations."""

from __future__ import annotations

from typing import Any

import pytest

from trtbench.plan.draw import draw_plan
from trtbench.plan.plan import Phase, Plan
from trtbench.plan.plan_file import load_plan, save_plan
from trtbench.plan.sources.prompt_source import UniformPrompts
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario

C8 = {"concurrency": 8, "requests": 200, "warmup_requests": 2}
CONTROL = C8 | {"same_as": "c8", "cancel_ratio": 0}
WORKLOAD = {
    "prefix": {"groups": 2, "tokens": 8},
    "input_tokens": {"min": 5, "max": 40},
    "output_tokens": {"min": 5, "max": 9},
    "cancel": {"ratio": 0.2, "after_tokens": {"min": 1, "max": 4}},
}


def read(*stages: dict[str, Any], **more: Any) -> Scenario:
    return parse_scenario({"name": "x", "load": list(stages), "workload": WORKLOAD} | more, "x.yaml")


def plan(*stages: dict[str, Any], **more: Any) -> Plan:
    return draw_plan(read(*stages, **more), UniformPrompts(1000))


def asked(phase: Phase) -> list[Any]:
    return [(prompt.input_ids.tolist(), prompt.output_tokens, prompt.seed) for prompt in phase.prompts]


def gone(phase: Phase) -> set[int]:
    return {at for at, prompt in enumerate(phase.prompts) if prompt.cancel_after_tokens is not None}


def test_the_same_requests_with_other_cancellations() -> None:
    first, none, half = plan(C8, CONTROL, CONTROL | {"cancel_ratio": 0.5}).stages
    assert [part.stage.label for part in (first, none, half)] == ["c8", "c8-cancel0", "c8-cancel0.5"]
    assert asked(first.measured) == asked(none.measured) == asked(half.measured)
    assert asked(first.warmup) == asked(none.warmup)
    assert gone(none.measured) == set()
    assert gone(first.measured) < gone(half.measured), "who goes away at a small share goes away at a larger one"
    assert len(gone(half.measured)) == pytest.approx(100, abs=30)


def test_arrivals_are_the_same_too() -> None:
    poisson = {"mode": "poisson", "rate": 20, "duration_s": 3}
    first, again = plan(poisson, poisson | {"same_as": "poisson-20", "name": "again"}).stages
    assert first.measured.due_offsets_ns is not None and again.measured.due_offsets_ns is not None
    assert first.measured.due_offsets_ns.tolist() == again.measured.due_offsets_ns.tolist()
    assert gone(first.measured) == gone(again.measured) != set()


def test_a_stage_keeps_its_requests_beside_one_that_repeats_it() -> None:
    assert asked(plan(C8).stages[0].measured) == asked(plan(C8, CONTROL).stages[0].measured)


def test_the_plan_is_read_back(tmp_path: Any) -> None:
    made = plan(C8, CONTROL)
    save_plan(made, tmp_path / "plan.jsonl")
    assert load_plan(tmp_path / "plan.jsonl").sha256 == made.sha256
    scenario = read(C8, CONTROL)
    (tmp_path / "dumped.yaml").write_text(scenario.dump())
    assert read(*[stage.model_dump(mode="json", by_alias=True) for stage in scenario.load]).load == scenario.load


@pytest.mark.parametrize(
    ("stages", "more", "said"),
    [
        ((CONTROL,), {}, "load.0.same_as (c8): names no stage before it that has requests of its own; there are: none"),
        ((CONTROL, C8), {}, "load.0.same_as (c8): names no stage before it"),
        ((C8, CONTROL, CONTROL | {"same_as": "c8-cancel0", "name": "z"}), {}, "load.2.same_as (c8-cancel0): names no stage"),
        ((C8, CONTROL | {"requests": 100}), {}, "load.1.same_as (c8): requests differ from that stage"),
        ((C8, CONTROL | {"cancel_ratio": None}), {}, "c8 is listed twice"),
        ((C8 | {"cancel_ratio": 0.1},), {"workload": {}}, "load.0.cancel_ratio (0.1): workload.cancel is null; give it"),
        ((C8 | {"cancel_ratio": 1.5},), {}, "must be a"),
        (({"mode": "trace", "trace": "a", "cancel_ratio": 0.5},), {}, "a trace has no cancellations"),
    ],
)
def test_what_does_not_fit_is_said(stages: tuple[dict[str, Any], ...], more: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        read(*stages, **more)
    assert said in str(caught.value)
