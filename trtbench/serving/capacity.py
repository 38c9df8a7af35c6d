"""Whether this machine can hold a deployment, and what of it cannot show what it is meant to."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from trtbench.scenario import Deployment, Scaling, ScenarioError
from trtbench.serving.model_repository import KvBudget, default_inference_threads


def check_capacity(deployment: Deployment, budget: KvBudget, provider: str, memory_bytes: int, gpus: Collection[int], no_gpu: str) -> None:
    """ScenarioError, to be told whose, when it cannot be served here. `no_gpu`: what NVML says where there are none."""
    if provider == "tensorrt_llm" and deployment.instances > 1:
        raise ScenarioError(
            f"instances = {deployment.instances}: TensorRT-LLM's model is one instance a server, in-flight batching fills it; "
            "scale with replicas.servers or replicas.gpus"
        )
    if provider == "openvino" and deployment.replicas.gpus:
        raise ScenarioError(f"replicas.gpus = {list(deployment.replicas.gpus)}: the CPU engine uses none; scale with replicas.servers")
    missing = [gpu for gpu in deployment.replicas.gpus if gpu not in gpus]
    if missing:
        there = f"this machine has GPU {', '.join(map(str, sorted(gpus)))}" if gpus else f"this machine shows none ({no_gpu})"
        raise ScenarioError(f"replicas.gpus = {list(deployment.replicas.gpus)}: {there}; leave GPUs out that are not there")
    if provider != "openvino" or budget.bytes is None:
        return  # the cache is in GPU memory, and the engine's own share of it
    needed_bytes = deployment.engines * budget.bytes
    if needed_bytes > memory_bytes:
        raise ScenarioError(
            f"{deployment.replicas.count} servers x {deployment.instances} instances x {budget.bytes >> 20} MiB of KV cache are "
            f"{needed_bytes >> 20} MiB, the machine has {memory_bytes >> 20}: lower kv_cache, or run fewer"
        )


def check_axes(scaling: Scaling, provider: str) -> None:
    """ScenarioError for an axis that changes nothing of this provider's engine."""
    if scaling.inference_threads and provider != "openvino":
        raise ScenarioError(
            f"scaling.inference_threads: provider {provider} computes on GPUs, its CPU threads are not set; scale with gpus or servers"
        )


def doubts(deployment: Deployment, provider: str, cores: int) -> Iterator[str]:
    """What a reader of the result should know beforehand, in a sentence each."""
    if provider != "openvino":
        return
    threads = deployment.inference_threads or default_inference_threads()
    if threads > cores:
        yield f"inference_threads = {threads} on {cores} cores: threads take turns on a core, so this cannot show scaling"
    elif threads * deployment.engines > cores:
        yield (
            f"{deployment.engines} engines x {threads} threads on {cores} cores: they share cores, "
            "so they can gain only what one leaves unused"
        )
