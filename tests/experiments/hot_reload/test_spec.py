"""What a scenario may ask of its reloads."""

from __future__ import annotations

from typing import Any

import pytest

from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario

STAGE: dict[str, Any] = {"mode": "poisson", "rate": 1, "duration_s": 60}


def scenario(reloads: list[dict[str, Any]], **more: Any) -> Scenario:
    asked = {"before_s": 10, "every_s": 20, "reloads": reloads}
    return parse_scenario({"name": "x", "load": [STAGE], "hot_reload": asked} | more, "x")


def test_instants_and_the_engines_that_are_switched_to() -> None:
    asked = scenario([{"kind": "new_version", "to": "int8"}, {"kind": "broken"}, {"kind": "unload_load"}]).hot_reload
    assert asked and asked.last_start_s == 50 and asked.engines == ("int8",)


def test_a_scenario_without_the_key_reloads_nothing() -> None:
    assert parse_scenario({"name": "x", "load": [STAGE]}, "x").hot_reload is None


@pytest.mark.parametrize(
    ("reloads", "more", "said"),
    [
        ([{"kind": "broken", "to": "int8"}], {}, "to .int8. goes with kind new_version or blue_green; kind is broken"),
        ([{"kind": "changed_config"}], {}, "max_queue_delay_us"),
        ([{"kind": "broken", "max_queue_delay_us": 5}], {}, "max_queue_delay_us"),
        ([{"kind": "broken"}] * 4, {}, "duration_s .60. ends before the last reload, due at 70 s"),
        ([{"kind": "broken"}], {"load": [{"concurrency": 2, "requests": 9}]}, "open-loop"),
        ([{"kind": "broken"}], {"load": [STAGE, STAGE | {"rate": 2}]}, "exactly one stage"),
        (
            [{"kind": "changed_config", "max_queue_delay_us": 5}],
            {"deployments": {"plain": {"dynamic_batching": None}}},
            "deployments.plain.dynamic_batching is null",
        ),
        ([{"kind": "new_version", "broken": "engine"}], {}, "broken .engine. goes with kind broken; kind is new_version"),
        ([], {}, "reloads"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(reloads: list[dict[str, Any]], more: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        scenario(reloads, **more)


def test_repeats_and_warm_up_by_turns() -> None:
    kinds = [{"kind": "new_version"}, {"kind": "broken"}]
    asked = parse_scenario(
        {"name": "x", "load": [STAGE], "hot_reload": {"reloads": kinds, "repeats": 2, "model_warmup": "both", "every_s": 2}}, "x"
    ).hot_reload
    assert asked and asked.last_start_s == 10 + 7 * 2
    rows = [(one.number, one.repeat, one.reload.kind, one.warms_up) for one in asked.planned]
    assert rows[:4] == [(1, 1, "new_version", False), (2, 1, "broken", False), (3, 1, "new_version", True), (4, 1, "broken", True)]
    assert rows[4:6] == [(5, 2, "new_version", False), (6, 2, "broken", False)] and len(rows) == 8


def test_repeats_must_fit_the_load() -> None:
    asked = {"before_s": 10, "every_s": 20, "repeats": 4, "reloads": [{"kind": "new_version"}]}
    with pytest.raises(ScenarioError, match=r"ends before the last reload, due at 70 s: raise it, or lower hot_reload.every_s or repeats"):
        parse_scenario({"name": "x", "load": [STAGE], "hot_reload": asked}, "x")


def test_a_broken_version_breaks_its_model_unless_asked_otherwise() -> None:
    asked = scenario([{"kind": "broken"}, {"kind": "broken", "broken": "engine"}, {"kind": "blue_green", "to": "int8"}]).hot_reload
    assert asked and [one.breaks for one in asked.reloads] == ["model", "engine", None]
    assert asked.engines == ("int8",)
