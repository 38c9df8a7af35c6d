"""What a provider makes of a scenario: axes that mean nothing to it go, with the reason; what is the CPU's alone is settled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from trtbench.engine.build import PROVIDERS
from trtbench.run.resolve.provider_fit import bounded, fitted
from trtbench.run.resolve.resolved import resolve
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario
from trtbench.scenario.workload.lengths import Range
from trtbench.scenario.workload.request_kind import Dataset


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


POSITIONS = 8192  # of the demo


def scenario(path: Path, rows: list[Any], **keys: Any) -> Scenario:
    path.write_text("\n".join(map(json.dumps, rows)))
    workload = {"dataset": {"path": str(path)} | keys.pop("dataset", {})} | keys.pop("workload", {})
    return parse_scenario({"name": "x", "load": [{"concurrency": 1, "requests": 1}], "workload": workload} | keys, "x")


def of(found: Scenario) -> Dataset:
    assert found.workload.dataset
    return found.workload.dataset


def test_bounds_are_the_files_longest_row_and_the_models_positions(tmp_path: Path) -> None:
    found = bounded(scenario(tmp_path / "d", [{"prompt": "x" * 3000, "output_tokens": 40}, {"prompt": "x" * 100_000}]))
    assert (of(found).input_tokens, of(found).output_tokens) == (Range(min=1, max=POSITIONS - 1), Range(min=1, max=48))
    assert of(found).most_tokens == POSITIONS
    assert found.workload.longest_request_tokens == POSITIONS
    short = bounded(scenario(tmp_path / "d", [{"input_ids": [1] * 50, "output_tokens": 20}]))
    assert short.workload.longest_request_tokens == 50 + 8 + 32  # a row that does not say its output has the workload's 32
    assert bounded(short) == short


def test_bounds_that_are_given_stay(tmp_path: Path) -> None:
    given = {"input_tokens": {"min": 4, "max": 1024}, "output_tokens": {"min": 4, "max": 1024}}
    asked = scenario(tmp_path / "d", [{"prompt": "x" * 3000}], dataset=given)
    assert bounded(asked) is asked
    partly = bounded(scenario(tmp_path / "d", [{"prompt": "x" * 3000}], dataset={"input_tokens": {"min": 4, "max": 100}}))
    assert of(partly).input_tokens == Range(min=4, max=100)


def test_a_prefix_takes_its_share_of_the_positions(tmp_path: Path) -> None:
    found = bounded(scenario(tmp_path / "d", [{"prompt": "x" * 100_000}], workload={"prefix": {"tokens": 1000}}))
    assert of(found).most_tokens == POSITIONS - 1000
    assert found.workload.longest_request_tokens == POSITIONS


@pytest.mark.parametrize("workload", [{}, {"mix": {"a": {}, "b": {"dataset": None}}}])
def test_a_dataset_of_any_length_passes_the_checks_before_a_build(tmp_path: Path, workload: dict[str, Any]) -> None:
    asked = scenario(tmp_path / "d", [{"prompt": "x" * 500}, {"prompt": "x" * 50_000}], workload=workload)
    found = resolve(asked).scenario
    assert parse_scenario(found.model_dump(mode="json"), "again") == found


def test_an_encoder_has_no_answers(tmp_path: Path) -> None:
    rows = [{"prompt": "x" * 9000, "output_tokens": 600}]
    found = bounded(scenario(tmp_path / "d", rows, task="embed", model="minilm-l6-v2"))
    assert (of(found).input_tokens, of(found).output_tokens, of(found).most_tokens) == (Range(min=1, max=512), None, None)
