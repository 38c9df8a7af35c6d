from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trtbench.scenario.deployment.rounds import run_order
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import load_scenario, parse_scenario
from trtbench.scenario.scenario import Scenario
from trtbench.system.packaged_data import SCENARIOS

LOAD: dict[str, Any] = {"concurrency": 4, "requests": 24, "warmup_requests": 3}


def scenario_of(scaling: dict[str, Any], **more: Any) -> Scenario:
    return parse_scenario({"name": "s", "scaling": scaling, "load": [LOAD]} | more, "x.yaml").expanded()


def test_every_axis_is_a_series_of_points_of_its_own() -> None:
    scenario = scenario_of({"instances": [1, 2], "inference_threads": [1, 4], "servers": [1, 3], "gpus": [[0], [0, 1]]})
    assert list(scenario.deployments) == [
        *("instances-1", "instances-2", "threads-1", "threads-4", "gpus-1", "gpus-2", "servers-1", "servers-3")
    ]
    assert scenario.deployments["instances-2"].instances == 2
    assert scenario.deployments["threads-4"].inference_threads == 4
    assert scenario.deployments["servers-3"].replicas.count == 3
    assert (scenario.deployments["gpus-2"].replicas.gpus, scenario.deployments["gpus-2"].replicas.count) == ((0, 1), 2)
    assert {deployment.engines for deployment in scenario.deployments.values()} == {1, 2, 3}


def test_repeats_go_round_by_round() -> None:
    scenario = scenario_of({"servers": [1, 2, 4], "repeats": 3})
    order = [name for _, name in run_order(scenario.rounds, list(scenario.deployments), scenario.engines, 5)]
    assert [name[-1] for name in order] == ["1"] * 3 + ["2"] * 3 + ["3"] * 3
    assert scenario.scaling is not None and scenario.scaling.point_of("servers-4-r2") == ("servers", 4)


@given(units=st.integers(1, 64), users=st.integers(1, 50), requests=st.integers(1, 1000))
def test_load_a_unit_grows_with_the_units(units: int, users: int, requests: int) -> None:
    load = {"concurrency": users, "requests": requests, "warmup_requests": 1, "duration_s": 5}
    scenario = scenario_of({"inference_threads": [units, units + 1]}, load=[load])
    (stage,) = scenario.load_of(f"threads-{units}")
    assert (stage.concurrency, stage.requests, stage.warmup_requests, stage.duration_s) == (users * units, requests * units, units, 5)
    assert stage.label == scenario.load[0].label == f"c{users}-a-unit"


def test_rates_grow_too_and_a_name_of_the_users_own_stays() -> None:
    scenario = scenario_of({"servers": [1, 4]}, load=[{"mode": "poisson", "rate": 2.5, "duration_s": 10, "name": "busy"}])
    (stage,) = scenario.load_of("servers-4")
    assert (stage.rate, stage.duration_s, stage.label) == (10, 10, "busy")


def test_a_fixed_load_is_the_same_on_every_point() -> None:
    scenario = scenario_of({"servers": [1, 4], "load": "fixed"})
    assert scenario.load_of("servers-4") == scenario.load_of("servers-1") == scenario.load
    assert scenario.load[0].label == "c4"


@pytest.mark.parametrize("load", ["fixed", "per_unit"])
def test_what_is_dumped_loads_to_the_same_and_is_not_expanded_again(load: str) -> None:
    scenario = scenario_of({"servers": [1, 2], "load": load, "repeats": 2})
    again = parse_scenario(yaml.safe_load(scenario.dump()), "dumped")
    assert again == scenario
    assert again.dump() == scenario.dump()


@pytest.mark.parametrize(
    ("tree", "says"),
    [
        ({"scaling": {}}, "has no axis"),
        ({"scaling": {"servers": [2]}}, "at least two points"),
        ({"scaling": {"servers": [2, 2]}}, "of different size"),
        ({"scaling": {"gpus": [[0], [1]]}}, "of different size"),
        ({"scaling": {"gpus": [[], [1]]}}, "without any"),
        ({"scaling": {"gpus": [[0], [1, 1]]}}, "names a GPU twice"),
        ({"scaling": {"servers": [1, 2]}, "grid": {"instances": [1, 2]}}, "exclude each other"),
        ({"scaling": {"servers": [1, 2]}, "load": [], "context_limit": {}}, "context_limit and scaling exclude each other"),
        ({"scaling": {"servers": [1, 2]}, "deployments": {"a": {}, "b": {}}}, "multiplies one deployment"),
        ({"scaling": {"servers": [1, 2], "base": {}}}, "drop scaling.base"),
        (
            {"scaling": {"servers": [1, 2]}, "load": [{"concurrency": {"from": 1, "to": 4}, "duration_s": 5}]},
            "changes it: give a number of users",
        ),
        ({"deployments": {"a": {"replicas": {"algorithm": "least_connections"}}}}, "set balancer: haproxy"),
        ({"deployments": {"a": {"replicas": {"gpus": [0, 1], "servers": 3}}}}, "leave servers out"),
        ({"deployments": {"a": {"replicas": {"servers": 2}}}, "load": [], "context_limit": {}}, "works on one server"),
    ],
)
def test_what_cannot_be_scaled_is_refused(tree: dict[str, Any], says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        parse_scenario({"name": "s", "load": [LOAD]} | tree, "x.yaml")


def test_the_shipped_scenario_scales_three_ways() -> None:
    scenario = load_scenario(SCENARIOS / "scaling.yaml").expanded()
    assert scenario.scaling is not None
    assert list(scenario.scaling.axes) == ["instances", "inference_threads", "servers"]
    assert len(scenario.deployments) == 18
