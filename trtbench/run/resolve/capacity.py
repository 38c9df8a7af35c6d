"""Whether this machine can hold a deployment, and what of it cannot show what it is meant to."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from trtbench.rundir.traits import Traits
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.parts.part import ScenarioError
from trtbench.serving.repository.model_repository import KvBudget, default_inference_threads


def check_capacity(
    deployment: Deployment, budget: KvBudget, traits: Traits, memory_bytes: int, gpus: Collection[int | str], no_gpu: str
) -> None:
    """ScenarioError, to be told whose, when it cannot be served here. `gpus`: all names of each; `no_gpu`: what NVML says where none is."""
    if deployment.replicas.gpus and not traits.uses_gpus:
        raise ScenarioError(f"replicas.gpus = {list(deployment.replicas.gpus)}: the CPU engine uses none; scale with replicas.servers")
    check_gpus_there(deployment, gpus, no_gpu)
    shared = deployment.replicas.count > 1 and not deployment.replicas.gpus
    if traits.kv_takes_free_memory and shared and not deployment.bounds_kv:
        raise ScenarioError(
            f"replicas.servers = {deployment.replicas.count} on the same GPUs, and each takes its share of what the one before left free: "
            "their KV caches would differ; give kv_cache.blocks, or each server its own of replicas.gpus"
        )
    if traits.uses_gpus or budget.bytes is None:
        return  # the cache is in GPU memory, and the engine's own share of it
    needed_bytes = deployment.engines * budget.bytes
    if needed_bytes > memory_bytes:
        raise ScenarioError(
            f"{deployment.replicas.count} servers x {deployment.instances} instances x {budget.bytes >> 20} MiB of KV cache are "
            f"{needed_bytes >> 20} MiB, the machine has {memory_bytes >> 20}: lower kv_cache, or run fewer"
        )


def check_gpus_there(deployment: Deployment, gpus: Collection[int | str], no_gpu: str) -> None:
    """ScenarioError when servers are to run on GPUs that this machine has not. `no_gpu`: what NVML says where there are none."""
    missing = [gpu for gpu in deployment.replicas.gpus if gpu not in gpus]
    if missing:
        there = f"this machine has {', '.join(map(str, gpus))}" if gpus else f"this machine shows none ({no_gpu})"
        raise ScenarioError(f"replicas.gpus = {list(deployment.replicas.gpus)}: {there}; leave GPUs out that are not there")


def check_reload_memory(deployment: Deployment, traits: Traits) -> None:
    """ScenarioError where the model that is loaded beside the one that serves would find no memory."""
    if traits.kv_takes_free_memory and not deployment.bounds_kv:
        raise ScenarioError(
            "hot_reload loads a second engine beside the first, whose KV cache has taken its share of all that is free on the GPU: "
            "give kv_cache.blocks, so that both fit"
        )


def check_exclusive(deployment: Deployment, traits: Traits, ranks: int) -> None:
    """ScenarioError under compute mode exclusive_process where one GPU is used by several processes of a deployment."""
    launch = deployment.tensorrt_llm.launch if deployment.tensorrt_llm else "auto"
    why = None
    if traits.workers_beside_server:
        why = "the LLM API's workers are processes beside the server's"
    elif launch == "orchestrator":
        why = "the orchestrator spawns workers beside the server"
    elif ranks > 1:
        why = f"each of the engine's {ranks} ranks is a server, which opens every GPU that it sees"
    elif deployment.replicas.count > 1 and not deployment.replicas.gpus:
        why = f"replicas.servers = {deployment.replicas.count} share the GPUs"
    if why:
        raise ScenarioError(f"gpu.compute_mode exclusive_process lets one process in, and {why}: leave compute_mode out")


def doubts(deployment: Deployment, traits: Traits, cores: int) -> Iterator[str]:
    """What a reader of the result should know beforehand, in a sentence each."""
    if not traits.takes_cpu_threads:
        return
    threads = deployment.inference_threads or default_inference_threads()
    if threads > cores:
        yield f"inference_threads = {threads} on {cores} cores: threads take turns on a core, so this cannot show scaling"
    elif threads * deployment.engines > cores:
        yield (
            f"{deployment.engines} engines x {threads} threads on {cores} cores: they share cores, "
            "so they can gain only what one leaves unused"
        )
