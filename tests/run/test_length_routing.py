"""The bounds of length classes from a plan, and one adaptive deployment on the real server."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.support.command import ran
from tests.support.triton.started_run import MINI, StartRun, assert_conserved, outcomes, run_of, the_deployment
from trtbench.analysis.summary import summarise
from trtbench.plan.plan import Phase, Plan, PlannedPrompt, StagePlan
from trtbench.run.length_routing import length_classes
from trtbench.rundir.deployment_facts import ServedClass
from trtbench.rundir.records import Outcome
from trtbench.scenario.deployment.length_classes import Batching
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.parts.part import ScenarioError

MODELS = {"short": "m-short", "long": "m-long"}


def plan_of(lengths: list[int], warmup: list[int]) -> Plan:
    stage = Stage.model_validate({"concurrency": 1, "requests": len(lengths), "warmup_requests": len(warmup)})

    def phase(warm: bool, all_: list[int]) -> Phase:
        prompts = tuple(PlannedPrompt(np.zeros(length, np.int32), 1, 0) for length in all_)
        return Phase(stage, warm, prompts, 0, None)

    return Plan((StagePlan(stage, phase(True, warmup), phase(False, lengths)),))


def batching(**short: Any) -> Batching:
    return Batching.model_validate({"classes": {"short": short, "long": {}}})


def test_bounds_are_given_or_a_quantile_of_the_measured_inputs() -> None:
    plan = plan_of([8, 9, 10, 300, 400], [8, 400])
    short, long = length_classes(batching(upto_input_tokens=64), plan, MODELS)
    assert (short, long) == (ServedClass(name="short", upto_input_tokens=64, model="m-short"), ServedClass(name="long", model="m-long"))
    assert short.takes(64) and not short.takes(65) and long.takes(10**9)
    assert [length_classes(batching(upto_quantile=q), plan, MODELS)[0].upto_input_tokens for q in (0.5, 0.6, 0.61)] == [10, 10, 300]


@pytest.mark.parametrize(
    ("lengths", "warmup", "says"),
    [
        ([8, 9], [8], r"batching.classes.long \(no bound\): the workload, of 8 to 9 input tokens, has no request"),
        ([80, 90], [8], r"batching.classes.short \(the bound 64\)"),
        ([8, 90], [8, 9], "the 2 warm-up requests of stage c1 have none of the length class long: raise warmup_requests"),
    ],
)
def test_a_class_without_requests_or_without_a_warmup_is_refused(lengths: list[int], warmup: list[int], says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        length_classes(batching(upto_input_tokens=64), plan_of(lengths, warmup), MODELS)


def test_classes_of_one_model_need_no_warmup_of_each() -> None:
    assert [one.model for one in length_classes(batching(upto_input_tokens=64), plan_of([8, 90], [8]), {})] == [None, None]


@pytest.mark.triton
@pytest.mark.timeout(150, func_only=True)
def test_each_request_is_served_by_the_model_of_its_class(start_run: StartRun) -> None:
    classes = {"short": {"upto_input_tokens": 16, "max_batch_size": 2}, "long": {"max_queue_delay_us": 3000, "max_sequences": 1}}
    adaptive = MINI["deployments"]["default"] | {"instances": 2, "batching": {"classes": classes}}
    adaptive["dynamic_batching"] = {"max_queue_delay_us": 0}
    mix = {"question": {"weight": 3, "input_tokens": 8}, "document": {"input_tokens": {"min": 64, "max": 96}}}
    load = [{"concurrency": 4, "requests": 24, "warmup_requests": 8}]
    command = start_run(MINI | {"deployments": {"default": adaptive}, "workload": {"mix": mix, "output_tokens": 4}, "load": load})
    assert ran(command.wait(120), command.directory), command.err
    run = run_of(command)
    directory = the_deployment(run)
    records = directory.requests()
    assert_conserved(records, {("c4", True): 8, ("c4", False): 24})
    assert set(outcomes(records)) == {Outcome.COMPLETED}
    (result,) = summarise(run).deployments
    (stage,) = result.stages
    assert stage.length_classes is not None and stage.triton_batching is not None and stage.kv_cache is not None
    for name, component in (("short", "question"), ("long", "document")):
        found = stage.length_classes[name]
        assert found.group.requests == found.group.completed == stage.mixes[component].requests
        assert found.triton_batching and found.triton_batching.inferences == found.group.requests
        assert found.inflight and found.inflight.exact and found.kv_used_ratio_peak
    short, long = stage.length_classes.values()
    assert long.inflight and long.inflight.seen_batch == 1
    assert short.triton_batching and max(short.triton_batching.histogram) <= 2
    assert stage.triton_batching.inferences == 24
    assert stage.kv_cache.blocks_max == 2 * 24
    assert "Each class has a model of its own" in (run.path / "report.md").read_text(encoding="utf-8")
    configs = {path.parent.name: path.read_text() for path in directory.path.glob("model_repository/*/config.pbtxt")}
    assert set(configs) == {"smollm2-135m-short", "smollm2-135m-long"}
    assert "max_queue_delay_microseconds: 3000" in configs["smollm2-135m-long"]
