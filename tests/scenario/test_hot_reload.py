"""What a scenario may ask of its reloads."""

from __future__ import annotations

from typing import Any

import pytest

from trtbench.scenario import Scenario, ScenarioError, parse_scenario

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
        ([{"kind": "broken", "to": "int8"}], {}, "to .int8. goes with kind new_version; kind is broken"),
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
        ([], {}, "reloads"),
    ],
)
def test_what_cannot_be_run_is_refused_by_name(reloads: list[dict[str, Any]], more: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        scenario(reloads, **more)
