from __future__ import annotations

from typing import Any

import pytest
import yaml

from trtbench.analysis.stats.percentile import Distribution
from trtbench.experiments.grid.spec import Grid, cells_of
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.deployment.rounds import run_order
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import load_scenario, parse_scenario
from trtbench.scenario.scenario import Scenario
from trtbench.system.packaged_data import SCENARIOS

BASE: dict[str, Any] = {
    "name": "g",
    "deployments": {"base": {"max_batch_size": 8, "scheduler": {"max_sequences": 8}}},
    "load": [{"concurrency": 1, "requests": 1}],
}


def scenario_of(grid: dict[str, Any], **more: Any) -> Scenario:
    return parse_scenario(BASE | {"grid": grid} | more, "x.yaml").expanded()


def test_every_combination_becomes_a_deployment() -> None:
    scenario = scenario_of({"max_queue_delay_us": [0, 5000], "max_sequences": [4, 16], "preferred_batch_sizes": [[], [4, 8]]})
    assert len(scenario.deployments) == 8
    cell = scenario.deployments["p4_8-d5000-s16"]
    assert cell.dynamic_batching is not None
    assert cell.dynamic_batching.preferred_batch_sizes == (4, 8)
    assert (cell.dynamic_batching.max_queue_delay_us, cell.scheduler.max_sequences, cell.max_batch_size) == (5000, 16, 8)
    assert "p0-d0-s4" in scenario.deployments


def test_repeats_are_deployments_of_their_own() -> None:
    scenario = scenario_of({"instances": [1, 2], "repeats": 2})
    assert list(scenario.deployments) == ["i1-r1", "i1-r2", "i2-r1", "i2-r2"]
    assert scenario.grid is not None
    assert [(scenario.grid.cell_of(name), scenario.grid.round_of(name)) for name in scenario.deployments] == [
        ("i1", 1),
        ("i1", 2),
        ("i2", 1),
        ("i2", 2),
    ]


@pytest.mark.parametrize("grid", [{"max_batch_size": [4, 8]}, {"max_batch_size": [4], "repeats": 3}, {"repeats": 2}])
def test_what_is_dumped_loads_to_the_same_and_is_not_expanded_again(grid: dict[str, Any]) -> None:
    scenario = scenario_of(grid)
    again = parse_scenario(yaml.safe_load(scenario.dump()), "dumped")
    assert again == scenario
    assert again.dump() == scenario.dump()
    assert Scenario.model_validate(scenario.model_dump()) == scenario


def test_expansion_leaves_the_scenario_as_asked_and_happens_once() -> None:
    asked = parse_scenario(BASE | {"grid": {"max_batch_size": [4, 8]}}, "x.yaml")
    found = asked.expanded()
    assert (list(asked.deployments), list(found.deployments)) == (["base"], ["b4", "b8"])
    assert asked.grid and asked.grid.base is None
    assert found.expanded() == found
    assert found == asked.expanded()


def test_a_cell_that_cannot_be_is_left_out_with_its_reason() -> None:
    scenario = scenario_of({"max_batch_size": [4, 8], "preferred_batch_sizes": [[8], [4]]})
    assert list(scenario.deployments) == ["b4-p4", "b8-p8", "b8-p4"]
    assert scenario.grid is not None and scenario.grid.base is not None
    left_out = cells_of(scenario.grid, scenario.grid.base).left_out
    assert list(left_out) == ["b4-p8"]
    assert "[8] go over max_batch_size (4)" in left_out["b4-p8"]


@pytest.mark.parametrize(
    ("grid", "deployments", "said"),
    [
        ({}, None, "no axis"),
        ({"instances": [1, 1]}, None, "instances: 1 is listed twice"),
        ({"instances": [1, 2]}, {"a": {}, "b": {}}, "deployments has a, b"),
        ({"max_batch_size": [2], "preferred_batch_sizes": [[4]]}, None, "no cell can be served"),
        ({"max_queue_delay_us": [0, 1]}, {"a": {"dynamic_batching": None}}, "dynamic_batching is null"),
        ({"preferred_batch_sizes": [list(range(1, 40))], "max_batch_size": [64]}, None, "over 64 characters"),
        ({"response_cache": [None, {"kind": "local", "size_mb": 1e20}]}, None, "must be a number from 0.000001 to 1,000,000,000"),
        ({"instances": [1, 2], "base": {}}, None, "drop grid.base"),
        ({"instances": [0]}, None, "grid.instances"),
    ],
)
def test_what_does_not_hold_is_refused(grid: dict[str, Any], deployments: dict[str, Any] | None, said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        scenario_of(grid, **({"deployments": deployments} if deployments else {}))


def test_random_order_shuffles_within_each_round_and_is_the_same_for_a_seed() -> None:
    scenario = scenario_of({"max_sequences": [1, 2, 3, 4], "repeats": 3})
    names = list(scenario.deployments)
    order = list(run_order(scenario.grid, names, ("fp16", "int8"), 5))
    assert order == list(run_order(scenario.grid, names, ("fp16", "int8"), 5))
    assert order != list(run_order(scenario.grid, names, ("fp16", "int8"), 6))
    rounds = [name[-1] for _, name in order]
    assert rounds == ["1"] * 8 + ["2"] * 8 + ["3"] * 8
    assert len(set(order)) == 24
    passes = [[(engine, name[:-3]) for engine, name in order[i : i + 8]] for i in (0, 8, 16)]
    assert passes[0] != passes[1] and sorted(passes[0]) == sorted(passes[1])


def test_interleaved_order_repeats_the_pass_as_written() -> None:
    scenario = scenario_of({"max_sequences": [1, 2], "repeats": 2, "order": "interleaved"})
    order = [name for _, name in run_order(scenario.grid, list(scenario.deployments), scenario.engines, 5)]
    assert order == ["s1-r1", "s2-r1", "s1-r2", "s2-r2"]


def test_without_a_grid_the_order_is_as_written() -> None:
    assert list(run_order(None, ["b", "a"], ("fp16", "int8"), 1)) == [("fp16", "b"), ("int8", "b"), ("fp16", "a"), ("int8", "a")]


def test_the_shipped_grid() -> None:
    scenario = load_scenario(SCENARIOS / "batching.yaml").expanded()
    assert len(scenario.deployments) == 24  # eight cells, three rounds


@pytest.mark.parametrize("name", ["batching", "encoder"])
def test_every_stage_of_a_shipped_grid_supports_a_figure(name: str) -> None:
    """Fewer requests give no median, so no rate, and the grid could have no winner."""
    for stage in load_scenario(SCENARIOS / f"{name}.yaml").load:
        assert Distribution.of(range(stage.requests or 0)).p50 is not None


def test_a_search_needs_rounds_to_save() -> None:
    with pytest.raises(ScenarioError, match="search drops cells after two rounds, repeats is 2: set repeats to 3"):
        scenario_of({"max_sequences": [4, 8], "repeats": 2, "search": True})
    scenario = scenario_of({"max_sequences": [4, 8], "repeats": 3, "search": True})
    assert parse_scenario(yaml.safe_load(scenario.dump()), "dumped") == scenario


def test_a_cell_knows_its_place_on_the_axes() -> None:
    scenario = scenario_of({"max_batch_size": [4, 8], "preferred_batch_sizes": [[], [2, 8]], "max_sequences": [16]})
    assert scenario.grid is not None and scenario.cells is not None
    assert scenario.grid.labels_of("preferred_batch_sizes") == ("0", "2_8")
    assert list(scenario.cells.left_out) == ["b4-p2_8-s16"]
    assert scenario.grid.values_of(scenario.cells.cells["b8-p2_8-s16"]) == {
        "max_batch_size": "8",
        "preferred_batch_sizes": "2_8",
        "max_sequences": "16",
    }
    assert parse_scenario(BASE, "x.yaml").cells is None


def test_policies_are_an_axis_and_equal_adaptive_cells_are_served_once() -> None:
    classes = {"short": {"upto_input_tokens": 64, "max_batch_size": 16}, "long": {"max_batch_size": 4}}
    base = Deployment.model_validate({"instances": 2, "batching": {"classes": classes}})
    found = cells_of(Grid(max_batch_size=(4, 16), policy=("one_size", "adaptive")), base)
    assert list(found.cells) == ["b4-one_size", "b4-adaptive", "b16-one_size"]
    assert found.left_out == {"b16-adaptive": "its classes have settings of their own, so that it is the same as b4-adaptive"}
    with pytest.raises(ValueError, match="grid varies policy, the deployment's batching is null"):
        cells_of(Grid(policy=("one_size", "adaptive")), Deployment())
