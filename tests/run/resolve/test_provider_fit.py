"""What a provider makes of a scenario: axes that mean nothing to it go, with the reason; what is the CPU's alone is settled."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from trtbench.engine.build import PROVIDERS
from trtbench.run.resolve.provider_fit import fitted
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario


def asked(**more: Any) -> Scenario:
    return parse_scenario({"name": "n", "load": [{"concurrency": 1, "requests": 1}]} | more, "n")


def test_a_grid_keeps_the_axes_that_the_provider_varies() -> None:
    axes = {"instances": [1, 2], "max_sequences": [1, 8], "max_tokens_per_step": [8, 256]}
    base = {"cpu": {"inference_threads": 1}}
    scenario = asked(deployments={"base": base}, grid=axes | {"repeats": 2})
    found = fitted(scenario, PROVIDERS["tensorrt_llm"])
    assert list(found.deployments) == ["s1-t256-r1", "s1-t256-r2", "s8-t256-r1", "s8-t256-r2"]
    assert {(one.instances, one.inference_threads, one.cpu) for one in found.deployments.values()} == {(1, None, None)}
    assert found.cells and found.cells.left_out == {
        "instances": "provider tensorrt_llm cannot vary it: it has one instance a server",
        "max_tokens_per_step 8": "TensorRT-LLM builds for no fewer than the 32 tokens of a KV block",
    }
    assert fitted(found, PROVIDERS["tensorrt_llm"]) == found
    assert fitted(scenario.expanded(), PROVIDERS["tensorrt_llm"]) == found  # the scenario.yaml of a run by another provider
    assert parse_scenario(yaml.safe_load(found.dump()), "again") == found  # as resume and report read it


def test_on_the_cpu_nothing_goes() -> None:
    axes = {"instances": [1, 2], "max_tokens_per_step": [8, 256]}
    found = fitted(asked(deployments={"base": {"cpu": {"inference_threads": 3}}}, grid=axes), PROVIDERS["openvino"])
    assert list(found.deployments) == ["i1-t8", "i1-t256", "i2-t8", "i2-t256"]
    assert {(one.inference_threads, one.cpu) for one in found.deployments.values()} == {(3, None)}
    assert found.cells and not found.cells.left_out
    plain = asked(deployments={"base": {}}, grid=axes)
    assert fitted(plain, PROVIDERS["openvino"]) == plain.expanded()


def test_what_the_deployment_says_itself_goes_before_cpu() -> None:
    both = {"inference_threads": 2, "cpu": {"inference_threads": 3}}
    assert fitted(asked(deployments={"a": both}), PROVIDERS["openvino"]).deployments["a"].inference_threads == 2
    assert fitted(asked(deployments={"a": both}), PROVIDERS["tensorrt_llm"]).deployments["a"].inference_threads == 2  # refused later


def test_a_scaling_keeps_its_servers() -> None:
    axes = {"instances": [1, 2], "inference_threads": [1, 2], "servers": [1, 2]}
    found = fitted(asked(deployments={"base": {"cpu": {"inference_threads": 1}}}, scaling=axes), PROVIDERS["tensorrt_llm"])
    assert list(found.deployments) == ["servers-1", "servers-2"]
    assert found.scaling and list(found.scaling.left_out) == ["instances", "inference_threads"]
    assert [stage.label for stage in found.load] == ["c1-a-unit"]
    assert fitted(found, PROVIDERS["tensorrt_llm"]) == found
    on_cpu = fitted(asked(deployments={"base": {"cpu": {"inference_threads": 1}}}, scaling=axes), PROVIDERS["openvino"])
    assert on_cpu.deployments["threads-2"].inference_threads == 2 and on_cpu.deployments["servers-2"].inference_threads == 1


@pytest.mark.parametrize(
    ("provider", "more", "says"),
    [
        ("tensorrt_llm", {"grid": {"instances": [1, 2]}}, "grid: none of its axes means anything to provider tensorrt_llm"),
        ("tensorrt", {"scaling": {"inference_threads": [1, 2]}}, "scaling: none of its axes means anything to provider tensorrt"),
        ("llmapi", {"grid": {"max_batch_size": [1, 8]}}, "Triton's batcher is off"),
        (
            "tensorrt_llm",
            {"grid": {"max_sequences": [16, 32]}, "build": {"max_batch_size": 16}},
            "grid.max_sequences varies what build.max_batch_size = 16 holds fast: drop one of them",
        ),
        ("llmapi", {"grid": {"max_tokens_per_step": [64, 128]}, "build": {"max_num_tokens": 64}}, "build.max_num_tokens = 64 holds fast"),
        ("tensorrt_llm", {"grid": {"max_sequences": [16, 32]}, "build": {"engine_dir": "e"}}, "build.engine_dir = e holds fast"),
    ],
)
def test_a_comparison_of_nothing_is_refused(provider: str, more: dict[str, Any], says: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        fitted(asked(**more), PROVIDERS[provider])
    assert says in str(refused.value)
