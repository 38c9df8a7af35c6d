"""The memory that builds and servers on GPUs need, compared with what is free: known before anything is spent.

The estimate of a build is an upper bound (engine/tensorrt_llm/build_plan.py), that of a server a lower bound: weights and KV cache.
Activations and the memory of the runtime are missing from it, since only the log of the loaded server states them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import ceil

from trtbench.engine.spec import EngineForecast, ModelFacts
from trtbench.run.resolve.devices import Devices
from trtbench.scenario.deployment.build_options import Dtype
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.deployment.tensorrt_llm import LlmApi, TensorRtLlm
from trtbench.scenario.scenario import Scenario
from trtbench.serving.repository.model_repository import KvBudget
from trtbench.system.cuda import CudaGpu, visible_gpus
from trtbench.system.memory import memory_bounds

_SHARE_RATIO = 0.9  # kv_cache_free_gpu_mem_fraction and free_gpu_memory_fraction where nobody sets them


@dataclass(frozen=True)
class MemoryNeed:
    """Bytes of one GPU, a rank's, but where `what` says otherwise; None: not known, or not of this kind.

    `kv_tokens`: what is asked, of a share of the free memory how many it comes to at most. `needed_bytes` counts, of a share, one request.
    """

    what: str
    weights_bytes: int | None
    kv_bytes_per_token: int | None
    kv_tokens: int | None
    needed_bytes: int | None
    free_bytes: int | None

    @property
    def missing_bytes(self) -> int | None:
        return None if self.needed_bytes is None or self.free_bytes is None else max(0, self.needed_bytes - self.free_bytes)


def build_needs(dtype: Dtype, forecast: EngineForecast) -> Iterator[MemoryNeed]:
    """None of an engine that is not built on a GPU."""
    need = forecast.build
    if need is None:
        return
    free = [gpu.free_bytes for gpu in visible_gpus()]
    host_free = min(bound.available_bytes for bound in memory_bounds())
    yield MemoryNeed(f"build {dtype}", need.weights_bytes // forecast.ranks, None, None, need.gpu_bytes, max(free, default=None))
    yield MemoryNeed(f"build {dtype}, host", need.weights_bytes, None, None, need.host_bytes, host_free)
    if need.calibration_bytes:
        yield MemoryNeed(f"calibrate {dtype}, all GPUs", None, None, None, need.calibration_bytes, sum(free) if free else None)


def serving_needs(
    scenario: Scenario, forecasts: Mapping[Dtype, EngineForecast], facts: ModelFacts, budgets: Mapping[str, KvBudget], devices: Devices
) -> Iterator[MemoryNeed]:
    """Of each deployment on each engine, served on GPUs."""
    for name, budget in budgets.items():
        for dtype in scenario.engines:
            yield _served(f"serve {name}-{dtype}", scenario, scenario.deployments[name], forecasts[dtype], facts, budget, devices)


def _served(
    what: str,
    scenario: Scenario,
    deployment: Deployment,
    forecast: EngineForecast,
    facts: ModelFacts,
    budget: KvBudget,
    devices: Devices,
) -> MemoryNeed:
    tp, pp, weights = forecast.tp, forecast.pp, forecast.rank_bytes
    rank = replace(facts, layers=ceil(facts.layers / pp), kv_heads=ceil(facts.kv_heads / tp))
    kv_dtype = forecast.kv_dtype or ("fp16" if deployment.kv_cache.dtype == "auto" else deployment.kv_cache.dtype)
    per_token, free = rank.kv_bytes_per_token(kv_dtype), _free(deployment, tp * pp, devices)
    asked = _asked_tokens(deployment, budget, facts.kv_bytes_per_token(kv_dtype))
    copies = (1 if deployment.replicas.gpus else deployment.replicas.count) * (2 if scenario.hot_reload else 1)
    least = asked or budget.blocks_per_request * budget.block_tokens
    needed = None if weights is None else copies * (weights + least * per_token)
    if asked is None and weights is not None and free is not None:
        asked = int(_share(deployment) * max(0, free - weights) // per_token)
    return MemoryNeed(f"{what} x {copies}" if copies > 1 else what, weights, per_token, asked, needed, free)


def _asked_tokens(deployment: Deployment, budget: KvBudget, bytes_per_token: int) -> int | None:
    """None where the server takes its share of what is free."""
    if deployment.kv_cache.bytes:
        return deployment.kv_cache.bytes // bytes_per_token
    return budget.tokens or (deployment.tensorrt_llm or TensorRtLlm()).parameters.max_tokens_in_paged_kv_cache


def _share(deployment: Deployment) -> float:
    engine, llm = deployment.tensorrt_llm or TensorRtLlm(), deployment.llmapi or LlmApi()
    return engine.parameters.kv_cache_free_gpu_mem_fraction or llm.free_gpu_memory_fraction or _SHARE_RATIO


def _free(deployment: Deployment, ranks: int, devices: Devices) -> int | None:
    """Of the fullest GPU that the servers use; of a GPU in MIG mode CUDA tells the instance's."""
    visible = visible_gpus()
    wanted = {devices[gpu].partition("-")[2] for gpu in deployment.replicas.gpus}
    ids = deployment.tensorrt_llm.parameters.gpu_device_ids if deployment.tensorrt_llm else ()
    used: list[CudaGpu] = [gpu for gpu in visible if gpu.uuid in wanted] if wanted else [visible[i] for i in ids if i < len(visible)]
    return min((gpu.free_bytes for gpu in used or visible[:ranks]), default=None)
