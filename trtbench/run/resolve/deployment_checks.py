"""Checks whether the provider can serve each deployment on this machine: its engines, KV cache, memory and GPUs."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from trtbench.engine.build import OF_SERVERS
from trtbench.engine.spec import EngineForecast, EngineProvider, EngineSpec, ModelFacts
from trtbench.experiments.registry import roles
from trtbench.run.resolve.experiment_preparation import ExperimentPreparation
from trtbench.rundir.traits import Traits
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.parts.choices import Dtype
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.scenario import Scenario
from trtbench.serving.repository.model_repository import KvBudget, check_inputs, default_inference_threads
from trtbench.serving.repository.renderer import Renderer
from trtbench.serving.repository.renderers import RENDERERS, kv_budget
from trtbench.system.cuda import CudaGpu, visible_gpus
from trtbench.system.memory import memory_bounds
from trtbench.tasks.registry import TASKS

Devices = Mapping[int | str, str]
"""CUDA's name of each GPU and MIG instance by its index or UUID; empty if a scenario names none."""

_VARIABLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class DeploymentChecks:
    """The facts that the checks use. `specs`: by deployment directory; `no_gpu`: NVML's reason if the machine shows no GPU."""

    scenario: Scenario
    provider: EngineProvider
    facts: ModelFacts
    forecasts: Mapping[Dtype, EngineForecast]
    specs: Mapping[str, EngineSpec]
    devices: Devices
    no_gpu: str

    def budgets(self) -> dict[str, KvBudget]:
        """The KV budget of each deployment, empty for an encoder; ScenarioError if the provider cannot serve one on this machine."""
        self._check_paged_context()
        for experiment in roles(ExperimentPreparation):
            experiment.check_ranks(self.scenario, self._ranks)
        found = {}
        has_kv_cache = TASKS[self.facts.task].has_kv_cache
        if not has_kv_cache:
            check_inputs(self.facts, self.scenario.workload)
        for name, deployment in self.scenario.deployments.items():
            try:
                if has_kv_cache:
                    found[name] = self._budget(deployment)
                self._check_engines(name, deployment)
            except ScenarioError as error:
                raise ScenarioError(f"deployments.{name}: {error}") from error
        return found

    @property
    def _ranks(self) -> int:
        return max(forecast.ranks for forecast in self.forecasts.values())

    def _check_paged_context(self) -> None:
        """ScenarioError for KV reuse or chunked prefill on an engine without paged context: TensorRT-LLM would disable both silently,
        and the run would measure something else.
        """
        for why in filter(None, (forecast.no_paged_context for forecast in self.forecasts.values())):
            for name, deployment in self.scenario.deployments.items():
                for key, on in (
                    ("scheduler.chunked_prefill", deployment.scheduler.chunked_prefill),
                    ("kv_cache.prefix_caching", deployment.kv_cache.prefix_caching),
                ):
                    if on:
                        raise ScenarioError(f"deployments.{name}.{key} is true, but not available under {why}: set it to false")

    def _budget(self, deployment: Deployment) -> KvBudget:
        provider = OF_SERVERS.get(deployment.server, self.provider)
        block_tokens = self.scenario.build.kv_block_tokens or provider.kv_block_tokens
        budget = kv_budget(provider.name, self.facts, block_tokens, deployment, self.scenario.workload)
        machine_bytes = min(bound.limit_bytes for bound in memory_bounds())
        check_capacity(deployment, budget, provider.traits, machine_bytes, self.devices, self.no_gpu)
        return budget

    def _check_engines(self, name: str, deployment: Deployment) -> None:
        """Check one deployment against the engines that will be built, and the actions of the run on its GPUs."""
        provider = OF_SERVERS.get(deployment.server, self.provider)
        scenario, traits, renderer = self.scenario, provider.traits, RENDERERS[provider.name]
        _check_length_classes(scenario, deployment, provider, renderer)
        for dtype in scenario.dtypes:
            renderer.check_spec(self.specs[f"{name}-{dtype}"], self.facts, deployment, scenario.workload)
        for experiment in roles(ExperimentPreparation):
            experiment.check_deployment(scenario, deployment, renderer, traits)
        if traits.uses_gpus:
            _check_gpus_there(deployment, self.devices, self.no_gpu)
            if scenario.gpu and scenario.gpu.compute_mode == "exclusive_process":
                _check_exclusive(deployment, traits, self._ranks)
            check_devices(deployment, self._ranks, self.devices)


def _check_length_classes(scenario: Scenario, deployment: Deployment, provider: EngineProvider, renderer: Renderer) -> None:
    """ScenarioError if the provider cannot serve classes apart, or if the scenario's requests cannot be divided."""
    if deployment.batching is None:
        return
    if deployment.is_adaptive and renderer.no_length_classes:
        raise ScenarioError(f"batching.policy = 'adaptive' with provider {provider.name}: {renderer.no_length_classes}")
    excluded = {
        "workload.tensors": TASKS[scenario.task].sends_tensors,
        "workload.sessions": any(kind.sessions for kind in scenario.workload.kinds.values()),
    }
    for name, one in deployment.batching.classes.items():
        if not TASKS[scenario.task].batches_in_flight and (one.max_sequences or one.max_tokens_per_step):
            raise ScenarioError(f"batching.classes.{name}: max_sequences and max_tokens_per_step mean nothing with task {scenario.task}")
    for key, given in excluded.items():
        if given:
            raise ScenarioError(f"batching divides independent requests by their input tokens, not those of {key}: drop one of them")


def check_capacity(
    deployment: Deployment, budget: KvBudget, traits: Traits, memory_bytes: int, gpus: Collection[int | str], no_gpu: str
) -> None:
    """ScenarioError, without the deployment's name, if it cannot be served here. `gpus`: all names of each GPU."""
    if deployment.replicas.gpus and not traits.uses_gpus:
        raise ScenarioError(f"replicas.gpus = {list(deployment.replicas.gpus)}: the CPU engine uses none; scale with replicas.servers")
    _check_gpus_there(deployment, gpus, no_gpu)
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


def _check_gpus_there(deployment: Deployment, gpus: Collection[int | str], no_gpu: str) -> None:
    """ScenarioError if servers need GPUs that this machine does not have. `no_gpu`: NVML's reason if there are none."""
    missing = [gpu for gpu in deployment.replicas.gpus if gpu not in gpus]
    if missing:
        there = f"this machine has {', '.join(map(str, gpus))}" if gpus else f"this machine shows none ({no_gpu})"
        raise ScenarioError(f"replicas.gpus = {list(deployment.replicas.gpus)}: {there}; leave GPUs out that are not there")


def _check_exclusive(deployment: Deployment, traits: Traits, ranks: int) -> None:
    """ScenarioError in compute mode exclusive_process if several processes of a deployment use one GPU."""
    launch = deployment.tensorrt_llm.launch if deployment.tensorrt_llm else "auto"
    why = None
    if traits.workers_beside_server:
        why = "the LLM API's workers are processes in addition to the server's"
    elif launch == "orchestrator":
        why = "the orchestrator spawns workers in addition to the server"
    elif ranks > 1:
        why = f"each of the engine's {ranks} ranks is a server, which opens every GPU that it sees"
    elif deployment.replicas.count > 1 and not deployment.replicas.gpus:
        why = f"replicas.servers = {deployment.replicas.count} share the GPUs"
    if why:
        raise ScenarioError(f"gpu.compute_mode exclusive_process lets one process in, and {why}: leave compute_mode out")


def doubts(deployment: Deployment, traits: Traits, cores: int) -> Iterator[str]:
    """Warnings that a reader of the result should know beforehand, a sentence each."""
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


def named_devices(scenario: Scenario) -> tuple[Devices, str]:
    """(The devices of this machine, NVML's reason if there are none); read only if a deployment names devices."""
    if not any(deployment.replicas.gpus for deployment in scenario.deployments.values()):
        return {}, ""
    from trtbench.gpu import inventory  # pynvml is loaded only where GPUs are asked for

    return inventory.cuda_devices(), inventory.probe()


def check_devices(deployment: Deployment, ranks: int, devices: Devices) -> None:
    """ScenarioError if a rank would find no GPU, or a server would use one that this process may not use.

    Without a CUDA driver nothing is known, and nothing is refused.
    """
    names = [devices[gpu] for gpu in deployment.replicas.gpus]
    if len(set(names)) < len(names):
        raise ScenarioError(f"replicas.gpus = {list(deployment.replicas.gpus)} name one by index and by UUID: name it once")
    variable = os.environ.get(_VARIABLE)
    if names and variable is not None:
        _check_inside(names, variable, visible_gpus())
    ids = deployment.tensorrt_llm.parameters.gpu_device_ids if deployment.tensorrt_llm else ()
    if ranks > 1 or ids:
        _check_ranks(ranks, ids, visible_gpus())


def _check_inside(names: Sequence[str], variable: str, visible: Sequence[CudaGpu]) -> None:
    """Check against the variable as CUDA interprets it. If the variable has several MIG instances, CUDA shows only the first."""
    listed = [one for word in variable.split(",") if (one := word.strip())]
    shown = {gpu.uuid for gpu in visible}
    for name in names:
        by_uuid = any(one.startswith(("GPU-", "MIG-")) and name.startswith(one) for one in listed)  # CUDA takes a UUID's beginning too
        if not by_uuid and name not in listed and name.partition("-")[2] not in shown:
            raise ScenarioError(
                f"replicas.gpus: {name} is not among those that {_VARIABLE}={variable} leaves to this process: name others, or change it"
            )


def _check_ranks(ranks: int, ids: Sequence[int], visible: Sequence[CudaGpu]) -> None:
    shows = f"CUDA shows {len(visible)} (of a GPU in MIG mode one instance)"
    if visible and ranks > len(visible):
        raise ScenarioError(
            f"the engine has {ranks} ranks, which take a GPU each, and {shows}: make more visible, or take one of fewer ranks "
            "(build.tp, build.pp)"
        )
    if beyond := [one for one in ids if visible and one >= len(visible)]:
        raise ScenarioError(f"tensorrt_llm.parameters.gpu_device_ids names {beyond}, and {shows}, counted from 0: name those")
