"""Repeats: which rounds a scenario has, in which order, and by which seeds."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tests.support.runs.repeated_run import repeated_scenario
from trtbench.experiments.repeats.spec import LEAST_BEFORE_STOP, Repeats
from trtbench.scenario.deployment.rounds import run_order
from trtbench.scenario.load.measurement import Seeds
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario

UNTIL = {"metric": "ttft.p99", "relative_width": 0.05}
LOAD = [{"concurrency": users, "requests": 20} for users in (1, 2, 4, 8)]


def repeats_of(value: Any) -> Repeats:
    found = repeated_scenario(value).repeats
    assert found
    return found


def test_a_number_is_that_many_rounds() -> None:
    scenario = repeated_scenario(3)
    assert list(scenario.deployments) == ["default-r1", "default-r2", "default-r3"]
    assert scenario.repeats == repeats_of({"most": 3})
    assert scenario.rounds and [(scenario.rounds.cell_of(n), scenario.rounds.round_of(n)) for n in scenario.deployments] == [
        ("default", 1),
        ("default", 2),
        ("default", 3),
    ]


def test_every_deployment_is_in_every_round_and_rounds_are_not_mixed() -> None:
    scenario = repeated_scenario(4, deployments={"a": {}, "b": {}}, engines=["fp16", "int8"])
    order = list(run_order(scenario.rounds, list(scenario.deployments), scenario.engines, scenario.seeds.order))
    assert len(order) == len(set(order)) == 16
    rounds = [[(name[0], dtype) for dtype, name in order[4 * i : 4 * i + 4]] for i in range(4)]
    assert all(set(one) == {("a", "fp16"), ("a", "int8"), ("b", "fp16"), ("b", "int8")} for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1, "shuffled"
    assert [name.rpartition("-r")[2] for _, name in order] == [str(number) for number in (1, 2, 3, 4) for _ in range(4)]


def test_deployments_of_a_round_have_one_plan_and_other_rounds_another() -> None:
    scenario = repeated_scenario(3, deployments={"a": {}, "b": {}}, load=LOAD)
    planned = {name: scenario.planned(name) for name in scenario.deployments}
    for number in (1, 2, 3):
        a, b = planned[f"a-r{number}"], planned[f"b-r{number}"]
        assert (a.load, a.seeds) == (b.load, b.seeds)
    assert len({one.seeds for one in planned.values()}) == 3
    assert planned["a-r1"].seeds == scenario.seeds, "the first round has the seeds of the scenario"
    assert {frozenset(stage.label for stage in one.load) for one in planned.values()} == {frozenset(s.label for s in scenario.load)}
    assert [s.label for s in scenario.planned("a-r2").load] == [s.label for s in scenario.planned("a-r2").load], "the same at every call"
    assert len({tuple(stage.label for stage in one.load) for one in planned.values()}) > 1, "shuffled"


def test_in_written_order_stages_are_not_shuffled() -> None:
    scenario = repeated_scenario({"most": 5, "order": "interleaved"}, load=LOAD)
    assert all(scenario.planned(name).load == scenario.load for name in scenario.deployments)


@given(st.integers(0, 2**32), st.integers(1, 30))
def test_a_stage_that_sends_the_requests_of_another_comes_after_it(seed: int, number: int) -> None:
    load = [Stage(name=name, concurrency=1, requests=1, same_as=of) for name, of in (("a", None), ("b", "a"), ("c", None), ("d", "a"))]
    order = [stage.label for stage in Repeats(most=30).stages(load, number, seed)]
    assert sorted(order) == ["a", "b", "c", "d"]
    assert order.index("a") < order.index("b") and order.index("a") < order.index("d")


@given(st.integers(-(2**63), 2**64 - 1), st.integers(1, 1000))
def test_seeds_of_any_round_are_seeds(seed: int, number: int) -> None:
    of_round = Seeds(arrivals=seed).of_round(number)
    assert (of_round.arrivals - seed) % 2**64 == (number - 1) * 1_000_000
    assert of_round.order == Seeds().order


@pytest.mark.parametrize("repeats", [2, {"most": 9, "until": UNTIL}, {"most": 4, "order": "interleaved"}])
def test_what_is_dumped_loads_to_the_same_and_is_not_expanded_again(repeats: Any) -> None:
    scenario = repeated_scenario(repeats, deployments={"a": {}, "b": {"max_batch_size": 4}})
    again = parse_scenario(yaml.safe_load(scenario.dump()), "dumped")
    assert again == scenario
    assert again.expanded() == scenario


def test_the_rounds_before_a_stop_have_a_default() -> None:
    assert repeats_of(7).least_rounds == 7
    assert repeats_of({"most": 9, "until": UNTIL}).least_rounds == LEAST_BEFORE_STOP
    assert repeats_of({"most": 3, "until": UNTIL}).least_rounds == 3
    assert repeats_of({"most": 9, "least": 2, "until": UNTIL}).least_rounds == 2


GRID, SCALING = {"max_batch_size": [1, 2]}, {"instances": [1, 2]}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"repeats": 1}, "repeats = 1: must be a whole number from 2 to 1,000"),
        ({"repeats": {"most": 2, "until": UNTIL}}, "until needs two rounds for an interval and a third one to save, most is 2"),
        ({"repeats": {"most": 5, "least": 6, "until": UNTIL}}, r"least \(6\) is larger than most \(5\)"),
        ({"repeats": {"most": 5, "least": 3}}, r"least \(3\) goes with until, which is null"),
        ({"repeats": {"rounds": 5}}, "repeats.rounds = 5: is not a known key"),
        ({"repeats": {"most": 5, "until": {"metric": "ttft.p99", "relative_width": 0}}}, "repeats.until.relative_width = 0"),
        ({"grid": GRID}, "grid and repeats exclude each other: grid has rounds of its own; set grid.repeats"),
        ({"scaling": SCALING}, "scaling and repeats exclude each other: scaling has rounds of its own; set scaling.repeats"),
        ({"hot_reload": {"reloads": [{"kind": "new_version"}]}}, "hot_reload and repeats exclude each other"),
        ({"context_limit": {}, "load": []}, "context_limit and repeats exclude each other: the search has no load to repeat"),
        ({"repeats": 1000, "deployments": {"a": {}, "b": {}}}, "makes 2,000 deployments, the upper bound is 1,000: lower repeats"),
        ({"deployments": {"a" * 63: {}}}, "has over 64 characters: shorten the name"),
        ({"repeats": {"most": 3, "of": ["a"]}}, "repeats.of is filled in, but deployments are not its rounds"),
    ],
)
def test_what_cannot_be_repeated_is_an_error_with_its_remedy(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        repeated_scenario(**({"repeats": 3} | more))
