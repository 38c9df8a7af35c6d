"""The GPUs that a scenario's servers run on: what CUDA calls each, and whether this process may use as many."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.scenario import Scenario
from trtbench.system.cuda import CudaGpu, visible_gpus

Devices = Mapping[int | str, str]
"""CUDA's name of each GPU and MIG instance by its index or UUID; empty where a scenario names none."""

_VARIABLE = "CUDA_VISIBLE_DEVICES"


def named_devices(scenario: Scenario) -> tuple[Devices, str]:
    """(Those of this machine, what NVML says where there are none); asked only where a deployment names some."""
    if not any(deployment.replicas.gpus for deployment in scenario.deployments.values()):
        return {}, ""
    from trtbench.gpu import inventory  # pynvml is loaded only where GPUs are asked for

    return inventory.cuda_devices(), inventory.probe()


def check_devices(deployment: Deployment, ranks: int, devices: Devices) -> None:
    """ScenarioError when a rank would find no GPU, or a server one that is not this process's to use.

    Nothing is known, and nothing refused, where there is no CUDA driver to ask.
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
    """CUDA knows best what the variable shows, but of several MIG instances in it shows the first alone."""
    told = [one for word in variable.split(",") if (one := word.strip())]
    shown = {gpu.uuid for gpu in visible}
    for name in names:
        by_uuid = any(one.startswith(("GPU-", "MIG-")) and name.startswith(one) for one in told)  # CUDA takes a UUID's beginning too
        if not by_uuid and name not in told and name.partition("-")[2] not in shown:
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
