from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from trtbench.errors import UserError
from trtbench.scenario.load.stage import Ramp, Stage, UserRamp
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario
from trtbench.scenario.workload.request_kind import Think

RAMP = {"from": 1, "to": 20}


def read(**keys: Any) -> Stage:
    return parse_scenario({"name": "x", "load": [keys]}, "x.yaml").load[0]


positive = st.floats(0.01, 1e4)
rate_ramps = st.builds(
    lambda first, to, steps: {"from": first, "to": to, "steps": steps}, st.floats(0, 1e4), st.floats(0, 1e4), st.none() | st.integers(2, 50)
).filter(lambda ramp: ramp["from"] != ramp["to"])
user_ramps = st.builds(lambda first, more: {"from": first, "to": first + more, "over_s": 0.05}, st.integers(0, 5000), st.integers(1, 5000))
thinks = (
    st.none()
    | positive
    | st.builds(lambda mean, law: {"mean": mean, "distribution": law}, positive, st.sampled_from(["fixed", "exponential"]))
)
loads = st.one_of(
    st.builds(lambda users, think: {"concurrency": users, "think_s": think}, st.integers(1, 5000) | user_ramps, thinks),
    st.builds(lambda mode, rate: {"mode": mode, "rate": rate}, st.sampled_from(["constant", "poisson"]), positive | rate_ramps),
    st.builds(lambda rate, shape: {"mode": "gamma", "rate": rate, "burstiness": shape}, positive | rate_ramps, positive),
    st.builds(
        lambda rate, on_s, off_s, gaps: {"mode": "burst", "rate": rate, "on_s": on_s, "off_s": off_s, "gaps": gaps},
        *(positive, positive, positive, st.sampled_from(["poisson", "constant"])),
    ),
    st.builds(lambda speed: {"mode": "trace", "trace": "a/trace.jsonl", "speed": speed}, positive),
)


@given(loads, st.floats(0.1, 1e6), st.none() | st.integers(1, 10**6))
def test_every_kind_of_load_is_read_and_dumped_to_the_same(load: dict[str, Any], duration_s: float, requests: int | None) -> None:
    scenario = parse_scenario({"name": "x", "load": [load | {"duration_s": duration_s, "requests": requests}]}, "x")
    assert Scenario.model_validate(yaml.safe_load(scenario.dump())) == scenario
    (stage,) = scenario.load
    assert stage.level >= 0 and stage.label


@pytest.mark.parametrize(
    ("keys", "label", "level"),
    [
        ({"concurrency": 16, "requests": 1}, "c16", 16),
        ({"concurrency": {"from": 10, "to": 1000, "steps": 10}, "duration_s": 9}, "c10-1000", 1000),
        ({"mode": "poisson", "rate": 2.5, "requests": 1}, "poisson-2.5", 2.5),
        ({"mode": "constant", "rate": 2, "requests": 1}, "constant-2", 2),
        ({"mode": "gamma", "burstiness": 2, "rate": {"from": 20, "to": 0.5}, "duration_s": 9}, "gamma-20-0.5", 0.5),
        ({"mode": "burst", "rate": 50, "on_s": 2, "off_s": 8, "requests": 1}, "burst-50", 10),
        ({"mode": "trace", "trace": "t.jsonl", "speed": 2}, "trace-x2", 2),
        ({"mode": "poisson", "rate": 2.5, "requests": 1, "name": "peak"}, "peak", 2.5),
    ],
)
def test_labels_and_levels(keys: dict[str, Any], label: str, level: float) -> None:
    stage = read(**keys)
    assert (stage.label, stage.level) == (label, level)


def test_what_was_read() -> None:
    stage = read(concurrency={"from": 1, "to": 4}, duration_s=9, think_s=2)
    assert isinstance(stage.concurrency, UserRamp) and (stage.concurrency.first, stage.concurrency.to) == (1, 4)
    assert stage.think_s == Think(mean=2, distribution="fixed")
    stage = read(mode="poisson", rate=RAMP | {"steps": 4, "over_s": 5}, duration_s=9)
    assert isinstance(stage.rate, Ramp) and (stage.rate.steps, stage.rate.over_s) == (4, 5)
    assert read(mode="trace", trace="t.jsonl").trace == Path("t.jsonl")


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"concurrency": 0, "requests": 1}, "load.0.concurrency = 0: must be a"),
        ({"concurrency": "many", "requests": 1}, "load.0.concurrency = 'many': must be a"),
        ({"mode": "poisson", "rate": 0, "requests": 1}, "load.0.rate = 0: must be a"),
        ({"mode": "poisson", "rate": float("inf"), "requests": 1}, "load.0.rate = inf: must be a"),
        ({"mode": "sine", "requests": 1}, "load.0.mode = 'sine': must be 'concurrency', 'constant'"),
        ({"requests": 1}, "load.0: mode concurrency needs concurrency"),
        ({"mode": "gamma", "rate": 1, "requests": 1}, "load.0: mode gamma needs burstiness"),
        ({"mode": "burst", "rate": 1, "on_s": 1, "requests": 1}, "load.0: mode burst needs off_s"),
        ({"mode": "trace"}, "load.0: mode trace needs trace"),
        (
            {"concurrency": 1, "rate": 2, "requests": 1},
            "rate goes with mode constant, poisson, gamma, burst; mode is concurrency: leave rate",
        ),
        ({"mode": "poisson", "rate": 2, "think_s": 2, "requests": 1}, "think_s goes with mode concurrency; mode is poisson"),
        ({"mode": "poisson", "rate": 2, "burstiness": 2, "requests": 1}, "burstiness goes with mode gamma; mode is poisson"),
        ({"mode": "poisson", "rate": 2, "speed": 2, "requests": 1}, "speed goes with mode trace; mode is poisson"),
        ({"concurrency": 1}, "load.0: a stage needs requests, duration_s, or both"),
        ({"concurrency": 1, "requests": 1, "think_s": {"mean": 1, "distribution": "pareto"}}, "load.0.think_s.distribution = 'pareto'"),
        ({"concurrency": 1, "requests": 1, "think_s": -1}, "load.0.think_s = -1: must be a"),
        ({"concurrency": {"from": 1.5, "to": 2}, "duration_s": 1}, "load.0.concurrency.from = 1.5: must be a"),
        ({"concurrency": {"from": 1, "to": 0}, "duration_s": 1}, "load.0.concurrency.to = 0"),
        ({"mode": "poisson", "rate": {"from": 1}, "duration_s": 1}, "load.0.rate.to: is required"),
        (
            {"mode": "poisson", "rate": RAMP | {"steps": 1}, "duration_s": 1},
            "load.0.rate.steps = 1: must be a",
        ),
        ({"mode": "poisson", "rate": {"from": 3, "to": 3}, "duration_s": 1}, "load.0.rate: from and to are both 3: give two levels"),
        ({"mode": "poisson", "rate": RAMP, "requests": 1}, "load.0: a ramp of rate needs duration_s"),
        ({"mode": "poisson", "rate": RAMP | {"over_s": 9}, "duration_s": 5}, "rate.over_s (9) goes over duration_s (5)"),
        ({"mode": "burst", "rate": RAMP, "on_s": 1, "off_s": 1, "duration_s": 5}, "mode burst takes one rate, not a ramp"),
    ],
)
def test_what_cannot_be_run_is_named_by_its_key(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(UserError) as caught:
        read(**keys)
    assert str(caught.value).startswith("x.yaml: load.0")
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)
