"""What experiments add to the dry run, of scenarios that are shipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtbench.experiments.registry import roles
from trtbench.run.resolve.experiment_preparation import ExperimentPreparation
from trtbench.scenario.reading import load_scenario

SCENARIOS = Path(__file__).parents[3] / "scenarios"


def lines_of(name: str) -> list[str]:
    scenario = load_scenario(SCENARIOS / f"{name}.yaml").expanded()
    found: list[str | None] = []
    for role in roles(ExperimentPreparation):
        found += [*role.preview_deployments(scenario), role.preview_in_place_of_load(scenario), role.preview_companion(scenario)]
    return [line for line in found if line]


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("batching", "grid: "),
        ("long-context", "context_limit: bisects the prompt length at "),
        ("hot-reload", "18 reloads (new_version, "),
    ],
)
def test_an_experiment_previews_what_it_does(name: str, start: str) -> None:
    assert lines_of(name)[0].startswith(start)


def test_a_scenario_without_an_experiment_has_no_lines() -> None:
    assert lines_of("baseline") == []
