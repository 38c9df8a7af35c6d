"""What a scenario may ask of Triton's response cache."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from trtbench.scenario.deployment.deployment import LocalCache, RedisCache
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario

LOCAL = {"kind": "local", "size_mb": 16}
REDIS = {"kind": "redis", "host": "cache.example", "port": 6380}


def asked(task: str = "embed", **more: Any) -> Scenario:
    tree = {"name": "c", "task": task, "load": [{"concurrency": 1, "requests": 4, "duplicate_ratio": 0.5}]}
    return parse_scenario(tree | more, "c")


def test_a_grid_of_caches_reads_back() -> None:
    scenario = asked(grid={"response_cache": [None, LOCAL, REDIS]}).expanded()
    assert list(scenario.deployments) == ["cache0", "cache16", "cacheredis"]
    assert scenario.deployments["cache16"].response_cache == LocalCache(kind="local", size_mb=16)
    assert scenario.deployments["cacheredis"].response_cache == RedisCache(kind="redis", host="cache.example", port=6380)
    assert parse_scenario(yaml.safe_load(scenario.dump()), "again") == scenario
    assert scenario.load[0].label == "c1-dup0.5"


def test_settings_for_triton() -> None:
    assert LocalCache(kind="local", size_mb=0.05).settings == (("size", "50000"),)
    assert RedisCache(kind="redis", host="h", db=0).settings == (("host", "h"), ("port", "6379"), ("db", "0"))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"task": "generate", "deployments": {"d": {"response_cache": LOCAL}}}, "deployments.d.response_cache: .*'decoupled'"),
        ({"deployments": {"d": {"response_cache": REDIS | {"host": "h,size=1"}}}}, "host"),
        ({"deployments": {"d": {"response_cache": REDIS | {"password": "x"}}}}, "password"),
        ({"deployments": {"d": {"response_cache": {"kind": "local", "size_mb": 0}}}}, "size_mb"),
        ({"grid": {"response_cache": [REDIS, REDIS | {"host": "other"}]}}, "is listed twice"),
        ({"task": "generate", "workload": {"sessions": {"turns": 2}}}, "duplicate_ratio of c1-dup0.5 and workload.sessions"),
    ],
)
def test_refusals(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        asked(**more)
