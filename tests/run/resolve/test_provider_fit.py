"""What a provider makes of a scenario: axes that mean nothing to it go, with the reason; what is the CPU's alone is settled."""

from __future__ import annotations

from typing import Any

import pytest

from trtbench.engine.build import PROVIDERS
from trtbench.run.resolve import provider_fit as module
from trtbench.run.resolve.provider_fit import fitted
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario


def asked(provider: str, monkeypatch: pytest.MonkeyPatch, **more: Any) -> Scenario:
    monkeypatch.setattr(module, "check_spec", lambda spec: PROVIDERS[provider])
    return parse_scenario({"name": "n", "load": [{"concurrency": 1, "requests": 1}]} | more, "n")


def test_a_grid_keeps_the_axes_that_the_provider_varies(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = {"instances": [1, 2], "max_sequences": [1, 8], "max_tokens_per_step": [8, 256]}
    base = {"cpu": {"inference_threads": 1}}
    scenario = asked("tensorrt_llm", monkeypatch, deployments={"base": base}, grid=axes | {"repeats": 2})
    found = fitted(scenario)
    assert list(found.deployments) == ["s1-t256-r1", "s1-t256-r2", "s8-t256-r1", "s8-t256-r2"]
    assert {(one.instances, one.inference_threads, one.cpu) for one in found.deployments.values()} == {(1, None, None)}
    assert found.cells and found.cells.left_out == {
        "instances": "provider tensorrt_llm cannot vary it: it has one instance a server",
        "max_tokens_per_step 8": "TensorRT-LLM builds for no fewer than the 32 tokens of a KV block",
    }
    assert fitted(found) == found
    assert parse_scenario(module.yaml.safe_load(found.dump()), "again") == found  # as resume and report read it


def test_on_the_cpu_nothing_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = {"instances": [1, 2], "max_tokens_per_step": [8, 256]}
    found = fitted(asked("openvino", monkeypatch, deployments={"base": {"cpu": {"inference_threads": 3}}}, grid=axes))
    assert list(found.deployments) == ["i1-t8", "i1-t256", "i2-t8", "i2-t256"]
    assert {(one.inference_threads, one.cpu) for one in found.deployments.values()} == {(3, None)}
    assert found.cells and not found.cells.left_out
    plain = asked("openvino", monkeypatch, deployments={"base": {}}, grid=axes)
    assert fitted(plain) is plain


def test_what_the_deployment_says_itself_goes_before_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    both = {"inference_threads": 2, "cpu": {"inference_threads": 3}}
    assert fitted(asked("openvino", monkeypatch, deployments={"a": both})).deployments["a"].inference_threads == 2
    assert fitted(asked("tensorrt_llm", monkeypatch, deployments={"a": both})).deployments["a"].inference_threads == 2  # refused later


def test_a_scaling_keeps_its_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    axes = {"instances": [1, 2], "inference_threads": [1, 2], "servers": [1, 2]}
    found = fitted(asked("tensorrt_llm", monkeypatch, deployments={"base": {"cpu": {"inference_threads": 1}}}, scaling=axes))
    assert list(found.deployments) == ["servers-1", "servers-2"]
    assert found.scaling and list(found.scaling.left_out) == ["instances", "inference_threads"]
    assert [stage.label for stage in found.load] == ["c1-a-unit"]
    assert fitted(found) == found
    on_cpu = fitted(asked("openvino", monkeypatch, deployments={"base": {"cpu": {"inference_threads": 1}}}, scaling=axes))
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
def test_a_comparison_of_nothing_is_refused(provider: str, more: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ScenarioError) as refused:
        fitted(asked(provider, monkeypatch, **more))
    assert says in str(refused.value)
