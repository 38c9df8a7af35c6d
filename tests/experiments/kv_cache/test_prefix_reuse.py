from __future__ import annotations

from dataclasses import replace

import pytest

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.summary import Summary
from trtbench.experiments.kv_cache.prefix_reuse import prefix_reuse
from trtbench.scenario.scenario import Scenario
from trtbench.scenario.workload.workload import Workload


def pair(summary: Summary) -> tuple[DeploymentResult, DeploymentResult]:
    """The synthetic FP16 deployment, and the same with prefix caching and INT8's latencies."""
    off, faster = summary.deployments
    on = replace(faster, name="on", facts=replace(off.facts, prefix_caching=True))
    return off, on


def shared(scenario: Scenario) -> Scenario:
    workload = scenario.workload.model_copy(update={"prefix": Workload.model_validate({"prefix": {"tokens": 128}}).prefix})
    return scenario.model_copy(update={"workload": workload})


def test_ttft_with_reuse_beside_without(summary: Summary) -> None:
    off, on = pair(summary)
    (found,) = prefix_reuse([off, on], shared(summary.scenario))
    assert (found.off, found.on) == (off.name, "on")
    assert [stage.stage for stage in found.stages] == ["c1", "c4", "c8", "poisson-2"]
    stage = found.stages[1]
    assert stage.ttft_off_ns == off.stages[1].latency.ttft_ns.p50
    assert stage.ttft_ratio == pytest.approx(on.stages[1].latency.ttft_ns.p50 / off.stages[1].latency.ttft_ns.p50)  # type: ignore[operator]
    assert stage.designed_hit_ratio == pytest.approx(199 / 200 / 2)  # one prefix as long as the rest, met first by one of 200
    assert stage.hit_ratio is None


def test_no_pair_no_reuse(summary: Summary) -> None:
    off, on = pair(summary)
    scenario = shared(summary.scenario)
    assert prefix_reuse([off, on], summary.scenario) == ()  # prompts share nothing
    assert prefix_reuse([on], scenario) == ()
    assert prefix_reuse([off, replace(on, facts=replace(on.facts, plan_sha256="d" * 64))], scenario) == ()
    assert prefix_reuse([off, replace(on, facts=replace(on.facts, dtype="int8"))], scenario) == ()
