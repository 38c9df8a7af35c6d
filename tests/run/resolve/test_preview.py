from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.engines.engine_directory import write_engine
from tests.support.fakes.fake_gpu import UUIDS
from trtbench.engine.build import PROVIDERS
from trtbench.engine.spec import EngineSpec, ModelFacts
from trtbench.engine.tensorrt_llm import build_plan
from trtbench.engine.tensorrt_llm import provider as trtllm_provider
from trtbench.engine.tensorrt_llm.adopt import AdoptedEngine
from trtbench.run.resolve import preview as preview_module
from trtbench.run.resolve.preview import MemoryNeed, build_needs, preview, serving_needs
from trtbench.scenario.parts.choices import Dtype
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario
from trtbench.serving.repository.model_repository import KvBudget
from trtbench.system.cuda import CudaGpu
from trtbench.tasks.generate import ASSUMED_TOKENS_PER_S


def scenario(*stages: dict[str, Any], **more: Any) -> Scenario:
    return parse_scenario({"name": "x", "load": list(stages), "workload": {"output_tokens": 20}} | more, "x")


def test_a_rate_and_a_count_give_the_duration() -> None:
    (stage,) = preview(scenario({"mode": "constant", "rate": 4, "requests": 100}), {}).stages
    assert (stage.duration_s, stage.requests, stage.estimated) == (25, 100, False)


def test_a_duration_gives_the_count_of_an_open_loop() -> None:
    (stage,) = preview(scenario({"mode": "poisson", "rate": 4, "duration_s": 10}), {}).stages
    assert (stage.duration_s, stage.requests, stage.estimated) == (10, 40, False)


def test_a_closed_loop_by_time_has_no_count() -> None:
    (stage,) = preview(scenario({"concurrency": 4, "duration_s": 10}), {}).stages
    assert (stage.duration_s, stage.requests, stage.estimated) == (10, None, False)


def test_a_closed_loop_by_count_is_estimated() -> None:
    (stage,) = preview(scenario({"concurrency": 4, "requests": 10}), {}).stages
    assert (stage.duration_s, stage.estimated) == (10 * 20 / ASSUMED_TOKENS_PER_S, True)


def test_what_ends_first_counts() -> None:
    rated, counted = preview(
        scenario(
            {"mode": "constant", "rate": 10, "requests": 1000, "duration_s": 5}, {"concurrency": 1, "requests": 10, "duration_s": 1000}
        ),
        {},
    ).stages
    assert (rated.duration_s, rated.requests) == (5, 50)
    assert (counted.duration_s, counted.requests, counted.estimated) == (4, 10, True)


def test_a_ramp_sends_what_its_integral_says() -> None:
    line, stairs, held = preview(
        scenario(
            {"mode": "poisson", "rate": {"from": 0, "to": 20}, "duration_s": 60},
            {"mode": "constant", "rate": {"from": 10, "to": 40, "steps": 4}, "duration_s": 20},
            {"mode": "poisson", "rate": {"from": 2, "to": 10, "over_s": 10}, "duration_s": 100, "requests": 160},
        ),
        {},
    ).stages
    assert (line.requests, line.duration_s, line.level) == (600, 60, 20)
    assert stairs.requests == 500
    assert (held.requests, held.duration_s) == (160, 20)


def test_bursts_send_at_their_mean_rate() -> None:
    (stage,) = preview(scenario({"mode": "burst", "rate": 50, "on_s": 2, "off_s": 8, "duration_s": 60}), {}).stages
    assert (stage.requests, stage.level) == (600, 10)


def test_users_that_think_take_longer() -> None:
    (stage,) = preview(scenario({"concurrency": 4, "requests": 100, "think_s": 2}), {}).stages
    assert (stage.duration_s, stage.estimated) == (100 * 20 / ASSUMED_TOKENS_PER_S + 100 * 2 / 4, True)


def test_a_trace_has_as_many_requests_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(f'{{"timestamp": {500 * line}, "input_length": 5, "output_length": 2}}\n' for line in range(21)))
    whole, cut = preview(
        scenario({"mode": "trace", "trace": str(path)}, {"mode": "trace", "trace": str(path), "speed": 2, "duration_s": 1}), {}
    ).stages
    assert (whole.requests, whole.duration_s, whole.level, whole.estimated) == (21, 10, 2, False)
    assert (cut.requests, cut.duration_s, cut.level) == (4, 0.75, 4)


@given(st.integers(1, 100), st.floats(0.1, 100), st.integers(1, 3), st.sampled_from([["fp16"], ["fp16", "int8"]]))
def test_the_whole_is_the_sum_over_stages_and_runs(requests: int, rate: float, deployments: int, engines: list[str]) -> None:
    plan = preview(
        scenario(
            {"mode": "constant", "rate": rate, "requests": requests},
            {"concurrency": 2, "duration_s": 7},
            engines=engines,
            deployments={f"d{number}": {} for number in range(deployments)},
        ),
        {},
    )
    assert len(plan.runs) == deployments * len(engines)
    assert plan.duration_s == pytest.approx(len(plan.runs) * (requests / rate + 7))
    assert plan.requests == requests


def test_requests_that_fit_the_kv_cache_at_once() -> None:
    budget = KvBudget(blocks=23, block_tokens=32, dtype="fp16", bytes_per_token=100, blocks_per_request=5)
    plan = preview(
        scenario({"concurrency": 1, "requests": 1}, deployments={"tight": {"scheduler": {"max_sequences": 9}}}), {"tight": budget}
    )
    (kv,) = plan.kv
    assert (kv.deployment, kv.blocks, kv.bytes, kv.concurrent_requests, kv.max_sequences) == ("tight", 23, 23 * 32 * 100, 4, 9)


def test_the_hit_ratio_of_a_prefix_design_by_stage() -> None:
    """n requests of 60 + 40 tokens with one prefix find it n - 1 times; of a stage by time, the prompts drawn count."""
    stages = [
        {"concurrency": 1, "requests": 100},
        {"mode": "constant", "rate": 4, "duration_s": 10},
        {"concurrency": 2, "duration_s": 10},
        {"mode": "poisson", "rate": 100, "duration_s": 10},
    ]
    workload = {"input_tokens": 40, "prefix": {"tokens": 60}, "distinct_prompts": 50}
    found = preview(scenario(*stages, workload=workload), {}).prefix_hit_ratios
    assert found == pytest.approx({"c1": 0.6 * 0.99, "constant-4": 0.6 * 39 / 40, "c2": 0.6 * 49 / 50, "poisson-100": 0.6 * 49 / 50})
    assert preview(scenario(*stages), {}).prefix_hit_ratios == {}


GIB = 1 << 30
PARAMETERS = 8_030_000_000
LLAMA = ModelFacts(layers=32, kv_heads=8, head_dim=128, max_positions=8192, vocabulary_tokens=128256, eos_token_id=2)
KIB_A_TOKEN = 128
REQUEST_TOKENS = 10 * 32


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> list[CudaGpu]:
    """Two GPUs, the second with less free."""
    gpus = [CudaGpu("H100", 90, 80 * GIB, free * GIB, UUIDS[i].partition("-")[2]) for i, free in enumerate((70, 20))]
    monkeypatch.setattr(preview_module, "visible_gpus", lambda: tuple(gpus))
    parameters(monkeypatch, PARAMETERS)
    monkeypatch.setattr(preview_module, "memory_bounds", lambda: (SimpleNamespace(available_bytes=40 * GIB),))
    return gpus


def parameters(monkeypatch: pytest.MonkeyPatch, count: int | None) -> None:
    for module in (build_plan, trtllm_provider):
        monkeypatch.setattr(module, "known_parameters", lambda model: count)


def needs(provider: str = "tensorrt_llm", deployment: dict[str, Any] | None = None, adopted: Any = None, **more: Any) -> list[MemoryNeed]:
    keys = {"name": "m", "model": "/m", "provider": provider, "engines": ["fp16"], "load": [{"concurrency": 1, "requests": 1}]}
    scenario = parse_scenario(keys | {"deployments": {"default": deployment or {}}} | more, "m")
    budget = KvBudget(scenario.deployments["default"].kv_cache.blocks, 32, "fp16", KIB_A_TOKEN * 1024, 10)
    spec = EngineSpec(model="/m", dtype=scenario.engines[0], build=scenario.build)
    forecasts = {spec.dtype: (adopted or PROVIDERS[provider]).forecast(spec)}
    return [*serving_needs(scenario, forecasts, LLAMA, {"default": budget}, {0: UUIDS[0], 1: UUIDS[1]})]


def built(provider: str = "tensorrt_llm", dtype: Dtype = "fp16") -> list[MemoryNeed]:
    return [*build_needs(dtype, PROVIDERS[provider].forecast(EngineSpec(model="/m", dtype=dtype)))]


def test_a_share_of_what_is_free() -> None:
    (one,) = needs()
    weights = 2 * PARAMETERS
    assert (one.what, one.weights_bytes, one.kv_bytes_per_token) == ("serve default-fp16", weights, KIB_A_TOKEN * 1024)
    assert one.kv_tokens == int(0.9 * (70 * GIB - weights)) // (KIB_A_TOKEN * 1024)
    assert one.needed_bytes == weights + REQUEST_TOKENS * KIB_A_TOKEN * 1024
    assert (one.free_bytes, one.missing_bytes) == (70 * GIB, 0)
    (half,) = needs(deployment={"tensorrt_llm": {"parameters": {"kv_cache_free_gpu_mem_fraction": 0.5}}})
    assert half.kv_tokens == int(0.5 * (70 * GIB - weights)) // (KIB_A_TOKEN * 1024)


def test_a_bounded_cache_that_does_not_fit_and_what_is_missing() -> None:
    blocks = 60 * GIB // (32 * KIB_A_TOKEN * 1024)
    (one,) = needs(deployment={"kv_cache": {"blocks": blocks}})
    assert (one.kv_tokens, one.needed_bytes) == (blocks * 32, 2 * PARAMETERS + 60 * GIB)
    assert one.missing_bytes == 2 * PARAMETERS - 10 * GIB
    (bytes_,) = needs(deployment={"kv_cache": {"bytes": 60 * GIB}})
    assert (bytes_.kv_tokens, bytes_.missing_bytes) == (one.kv_tokens, one.missing_bytes)


def test_ranks_share_weights_and_cache_and_the_fullest_gpu_bounds() -> None:
    (one,) = needs(build={"tp": 2})
    assert (one.weights_bytes, one.kv_bytes_per_token, one.free_bytes) == (PARAMETERS, KIB_A_TOKEN * 512, 20 * GIB)
    (pipeline,) = needs(build={"pp": 2})
    assert (pipeline.weights_bytes, pipeline.kv_bytes_per_token) == (PARAMETERS, KIB_A_TOKEN * 512)


def test_servers_side_by_side_and_each_on_its_own() -> None:
    (two,) = needs(deployment={"kv_cache": {"blocks": 10}, "replicas": {"servers": 2}})
    assert (two.what, two.needed_bytes) == ("serve default-fp16 x 2", 2 * (2 * PARAMETERS + REQUEST_TOKENS * KIB_A_TOKEN * 1024))
    (own,) = needs(deployment={"replicas": {"gpus": [1]}})
    assert own.free_bytes == 20 * GIB


def test_types(tmp_path: Any) -> None:
    (int8,) = needs(engines=["int8"], build={"kv_dtype": "int8"}, deployment={"scheduler": {"chunked_prefill": False}})
    assert (int8.weights_bytes, int8.kv_bytes_per_token) == (PARAMETERS, KIB_A_TOKEN * 512)
    (fp8,) = needs("llmapi", engines=["fp8"], deployment={"kv_cache": {"dtype": "fp8"}, "llmapi": {"free_gpu_memory_fraction": 0.4}})
    assert (fp8.weights_bytes, fp8.kv_bytes_per_token) == (PARAMETERS, KIB_A_TOKEN * 512)
    assert fp8.kv_tokens == int(0.4 * (70 * GIB - PARAMETERS)) // (KIB_A_TOKEN * 512)
    (adopted,) = needs(adopted=AdoptedEngine(write_engine(tmp_path / "e", tp=2, rank_bytes=4096)))
    assert (adopted.weights_bytes, adopted.free_bytes) == (4096, 20 * GIB)


def test_what_is_not_known_is_not_guessed(monkeypatch: pytest.MonkeyPatch, node: list[CudaGpu]) -> None:
    node.clear()
    (one,) = needs()
    assert (one.kv_tokens, one.free_bytes, one.missing_bytes) == (None, None, None)
    parameters(monkeypatch, None)  # no safetensors
    (one,) = needs()
    assert (one.weights_bytes, one.needed_bytes, one.missing_bytes) == (None, None, None)
    assert built() == []


def test_a_build() -> None:
    gpu, host = built()
    assert (gpu.what, round((gpu.needed_bytes or 0) / GIB, 1), gpu.free_bytes, gpu.missing_bytes) == ("build fp16", 18.5, 70 * GIB, 0)
    assert (host.what, round((host.missing_bytes or 0) / GIB, 1)) == ("build fp16, host", 6.9)
    *_, calibration = built(dtype="fp8")
    assert (calibration.what, calibration.needed_bytes) == ("calibrate fp8, all GPUs", round(2.4 * PARAMETERS))
    assert built("openvino") == []
