"""Memory of builds and servers before there are any, to exact bytes: an 8B Llama's figures are those of docs/gpu-quickstart.md."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.engine_directory import write_engine
from tests.support.fake_gpu import UUIDS
from trtbench.engine.build import PROVIDERS
from trtbench.engine.spec import EngineSpec, ModelFacts
from trtbench.engine.tensorrt_llm import build_plan
from trtbench.engine.tensorrt_llm import provider as trtllm_provider
from trtbench.engine.tensorrt_llm.adopt import AdoptedEngine
from trtbench.run.resolve import memory_preview
from trtbench.run.resolve.memory_preview import MemoryNeed, build_needs, serving_needs
from trtbench.scenario.deployment.build_options import Dtype
from trtbench.scenario.reading import parse_scenario
from trtbench.serving.repository.model_repository import KvBudget
from trtbench.system.cuda import CudaGpu

GIB = 1 << 30
PARAMETERS = 8_030_000_000
LLAMA = ModelFacts(layers=32, kv_heads=8, head_dim=128, max_positions=8192, vocabulary_tokens=128256, eos_token_id=2)
KIB_A_TOKEN = 128
REQUEST_TOKENS = 10 * 32


@pytest.fixture(autouse=True)
def node(monkeypatch: pytest.MonkeyPatch) -> list[CudaGpu]:
    """Two GPUs, the second with less free."""
    gpus = [CudaGpu("H100", 90, 80 * GIB, free * GIB, UUIDS[i].partition("-")[2]) for i, free in enumerate((70, 20))]
    monkeypatch.setattr(memory_preview, "visible_gpus", lambda: tuple(gpus))
    parameters(monkeypatch, PARAMETERS)
    monkeypatch.setattr(memory_preview, "memory_bounds", lambda: (SimpleNamespace(available_bytes=40 * GIB),))
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
