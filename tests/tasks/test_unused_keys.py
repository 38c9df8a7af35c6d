"""Task embed: the keys that mean nothing for an encoder are refused, and are not written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import yaml

from trtbench.plan.draw import draw_plan
from trtbench.plan.sources.prompt_source import UniformPrompts
from trtbench.run.resolve.resolved import resolve
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario

TREE = {"name": "e", "task": "embed", "model": "minilm-l6-v2", "load": [{"concurrency": 4, "requests": 10}]}
AXES = {"max_queue_delay_us": [0, 2000], "max_batch_size": [1, 8], "preferred_batch_sizes": [[], [8]], "instances": [1, 2], "repeats": 2}


def parse(**more: Any) -> Scenario:
    return parse_scenario(TREE | more, "x")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"workload": {"output_tokens": 5}}, r"workload\.output_tokens .* has no meaning with task embed: leave it out"),
        ({"workload": {"streaming": False}}, r"workload\.streaming .False."),
        ({"workload": {"ignore_eos": False}}, r"workload\.ignore_eos"),
        ({"workload": {"sampling": {"temperature": 1}}}, r"workload\.sampling .*temperature"),
        ({"workload": {"sessions": {"turns": 2}}}, r"workload\.sessions"),
        ({"workload": {"prefix": {"tokens": 8}}}, r"workload\.prefix"),
        ({"workload": {"mix": {"a": {"output_tokens": 9}}}}, r"workload\.mix\.a\.output_tokens"),
        ({"workload": {"cancel": {"ratio": 0.5, "after_tokens": 3}}}, r"workload\.cancel\.after_tokens.*give after_s"),
        ({"workload": {"input_tokens": {"min": 2, "max": 9}}}, r"input_tokens goes down to 2.*at least 3"),
        ({"deployments": {"d": {"kv_cache": {"blocks": 9}}}}, r"deployments\.d\.kv_cache"),
        ({"deployments": {"d": {"scheduler": {"max_sequences": 9}}}}, r"deployments\.d\.scheduler"),
        ({"deployments": {"base": {"scheduler": {"max_sequences": 9}}}, "grid": {"instances": [1, 2]}}, r"deployments\.base\.scheduler"),
        ({"deployments": {"base": {"scheduler": {"max_sequences": 9}}}, "scaling": {"instances": [1, 2]}}, r"deployments\.base\.scheduler"),
        ({"grid": {"max_sequences": [1, 2]}}, r"grid\.max_sequences"),
        ({"build": {"kv_dtype": "int8"}}, r"build\.kv_dtype .int8. has no meaning with task embed"),
        ({"build": {"tp": 2}}, r"build\.tp"),
        ({"slo": {"ttft_ms": 9}}, r"slo\.ttft_ms"),
        ({"slo": {"itl_ms": 9}}, r"slo\.itl_ms"),
        ({"slo": {"tpot_ms": 9}}, r"slo\.tpot_ms"),
        ({"load": [], "context_limit": {}}, r"context_limit"),
    ],
)
def test_keys_of_generation_are_refused(more: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        parse(**more)


def test_what_is_written_out_is_the_same_scenario_and_has_none_of_them() -> None:
    scenario = parse(grid=AXES, workload={"input_tokens": 9, "mix": {"a": {}, "b": {"cancel": {"ratio": 0.1, "after_s": 1}}}})
    text = scenario.dump()
    assert parse_scenario(yaml.safe_load(text), "again") == scenario
    for key in ("output_tokens", "kv_cache", "scheduler", "ttft_ms", "context_limit", "max_sequences", "temperature"):
        assert f"{key}:" not in text
    assert "kv_cache" in parse_scenario({"name": "g", "load": TREE["load"]}, "x").dump()


def test_the_base_of_a_scaling_is_written_without_them_too() -> None:
    scenario = parse(scaling={"instances": [1, 2], "repeats": 2}).expanded()
    text = scenario.dump()
    assert parse_scenario(yaml.safe_load(text), "again") == scenario
    assert "kv_cache:" not in text and "scheduler:" not in text


def test_the_grid_of_an_encoder() -> None:
    scenario = parse(grid=AXES).expanded()
    assert len(scenario.deployments) == 24  # of 16 cells, 4 have a preferred size over a largest batch of 1
    assert {d.max_batch_size for d in scenario.deployments.values()} == {1, 8}


def test_nothing_is_generated_in_its_plan() -> None:
    scenario = parse(workload={"input_tokens": {"min": 5, "max": 20}}, load=[{"concurrency": 2, "requests": 30, "warmup_requests": 3}])
    (stage,) = draw_plan(scenario, UniformPrompts(100)).stages
    prompts = stage.warmup.prompts + stage.measured.prompts
    assert len(prompts) == 33 and {prompt.output_tokens for prompt in prompts} == {0}
    assert {5 <= len(prompt.input_ids) <= 20 for prompt in prompts} == {True}
    assert len(np.unique([len(prompt.input_ids) for prompt in prompts])) > 5


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        (TREE | {"model": "smollm2-135m"}, r"task: embed, but model smollm2-135m is a decoder.*set task: generate"),
        (
            {"name": "g", "model": "minilm-l6-v2", "load": TREE["load"]},
            r"task: generate, but model minilm-l6-v2 is an encoder.*task: embed",
        ),
        (TREE | {"workload": {"input_tokens": 513}}, r"workload\.input_tokens = 513 is over the model's 512 positions"),
    ],
)
def test_the_task_is_held_against_the_checkpoint(tree: dict[str, Any], message: str) -> None:
    with pytest.raises(ScenarioError, match=message):
        resolve(parse_scenario(tree, "x"))


def test_an_encoder_has_no_kv_budget_to_check() -> None:
    found = resolve(parse())
    assert (found.facts.task, found.budgets) == ("embed", {})


def test_the_limits_of_an_encoders_engine_are_asked_for_and_kept() -> None:
    """A TensorRT plan has a largest batch and a longest input; each provider refuses the `build` keys that it does not take."""
    scenario = parse(provider="tensorrt", build={"max_batch_size": 16, "max_input_len": 200})
    assert parse_scenario(yaml.safe_load(scenario.dump()), "again").build.asked == {"max_batch_size": 16, "max_input_len": 200}
