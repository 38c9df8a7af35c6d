"""Adapts a scenario to its provider and its model: axes and keys of other providers are removed, datasets get bounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from trtbench.engine.checkpoint import model_facts
from trtbench.engine.spec import EngineProvider
from trtbench.plan.sources.datasets import read_dataset
from trtbench.rundir.traits import Traits
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.deployment.rounds import Multiplied
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_part
from trtbench.scenario.scenario import Scenario
from trtbench.scenario.workload.lengths import Range
from trtbench.scenario.workload.request_kind import Dataset, RequestKind
from trtbench.tasks.registry import TASKS

_BUILT_IN = {"max_sequences": "max_batch_size", "max_tokens_per_step": "max_num_tokens"}
"""Axes of a grid, with the build options that set the same limit."""
_ADDED_TOKENS = 8  # that a tokenizer may put around a text


def fitted(scenario: Scenario, provider: EngineProvider) -> Scenario:
    """The scenario that `provider` runs, with its grid or scaling expanded. A second call changes nothing.

    UserError if none of its axes has a meaning for the provider, or if `build` fixes one.
    """
    asked = scenario
    if scenario.multiplied:
        asked = _shortened(scenario, scenario.multiplied, provider, dict(_left_out(scenario, scenario.multiplied, provider)))
    settled = {name: _settled(deployment, provider.traits) for name, deployment in asked.deployments.items()}
    if asked is not scenario or settled != scenario.deployments:
        tree = asked.model_copy(update={"deployments": settled}).model_dump()
        scenario = parse_part(Scenario, tree, scenario.name)
    return bounded(scenario.expanded())


def _left_out(scenario: Scenario, multiplied: Multiplied, provider: EngineProvider) -> Iterator[tuple[tuple[str, Any], str]]:
    """((Axis, value), reason) for everything that is left out; the value None is the whole axis."""
    for axis in multiplied.axes:
        if why := provider.fixed_axes.get(axis):
            yield (axis, None), f"provider {provider.name} cannot vary it: {why}"
    if scenario.grid and provider.traits.build_limits_hold:
        _check_build(scenario, scenario.grid.axes)
    if scenario.grid and provider.traits.builds_per_scheduler_limits:
        least = scenario.build.kv_block_tokens or provider.kv_block_tokens
        for tokens in scenario.grid.max_tokens_per_step:
            if tokens < least:
                yield ("max_tokens_per_step", tokens), f"TensorRT-LLM builds for no fewer than the {least} tokens of a KV block"


def _check_build(scenario: Scenario, axes: Mapping[str, Any]) -> None:
    """ScenarioError for an axis that `build` fixes, because every cell would be served in the same way."""
    for axis, key in _BUILT_IN.items():
        holder = "engine_dir" if scenario.build.engine_dir else key
        if axis in axes and getattr(scenario.build, holder) is not None:
            raise ScenarioError(
                f"grid.{axis} varies what build.{holder} = {getattr(scenario.build, holder)} holds fast: drop one of them; "
                f"without build.{holder} an engine is built for each value"
            )


def _shortened(scenario: Scenario, multiplied: Multiplied, provider: EngineProvider, left_out: Mapping[tuple[str, Any], str]) -> Scenario:
    """The scenario before expansion, with its grid or scaling without what is left out."""
    key = "grid" if scenario.grid else "scaling"
    axes: dict[str, tuple[Any, ...]] = {
        axis: () if (axis, None) in left_out else tuple(value for value in values if (axis, value) not in left_out)
        for axis, values in multiplied.axes.items()
    }
    if axes and not any(axes.values()):
        why = "; ".join(f"{axis}: {reason}" for (axis, _), reason in left_out.items())
        raise ScenarioError(f"{key}: none of its axes means anything to provider {provider.name} ({why}): give it one that does")
    names = {axis if value is None else f"{axis} {value}": reason for (axis, value), reason in left_out.items()}
    first = next(iter(scenario.deployments))
    one = {first: scenario.deployments[first]} if multiplied.base is None else {multiplied.cell_of(first): multiplied.base}
    shorter = multiplied.model_copy(update={**axes, "base": None, "left_out": multiplied.left_out | names})
    return scenario.model_copy(update={key: shorter, "deployments": one})


def _settled(deployment: Deployment, traits: Traits) -> Deployment:
    """The deployment with the settings of `cpu` as its own for a provider that computes on the CPU, and without them for another."""
    if deployment.cpu is None:
        return deployment
    threads = deployment.inference_threads
    if traits.takes_cpu_threads and threads is None:
        threads = deployment.cpu.inference_threads
    return deployment.model_copy(update={"cpu": None, "inference_threads": threads})


def bounded(scenario: Scenario) -> Scenario:
    """The same scenario, with the bounds of a dataset filled in that the checks of positions and KV cache need.

    Rows that exceed the positions cannot be served: they are left out, counted and reported. UserError for a file that is not a dataset.
    """
    kinds = scenario.workload.kinds
    if all(kind.dataset is None or kind.dataset.is_settled for kind in kinds.values()):
        return scenario
    positions = model_facts(scenario.model).max_positions
    if scenario.build.max_seq_len:
        positions = min(positions, scenario.build.max_seq_len)
    update: dict[str, object] = {"mix": {name: _bounded_kind(kind, scenario, positions) for name, kind in scenario.workload.mix.items()}}
    if scenario.workload.dataset and not scenario.workload.mix:
        update["dataset"] = _bounded_dataset(scenario.workload, scenario.workload.dataset, scenario, positions)
    return scenario.model_copy(update={"workload": scenario.workload.model_copy(update=update)})


def _bounded_kind(kind: RequestKind, scenario: Scenario, positions: int) -> RequestKind:
    if kind.dataset is None:
        return kind
    return kind.model_copy(update={"dataset": _bounded_dataset(kind, kind.dataset, scenario, positions)})


def _bounded_dataset(kind: RequestKind, dataset: Dataset, scenario: Scenario, positions: int) -> Dataset:
    longest = read_dataset(dataset.path, dataset.format).longest(whole=kind.sessions is not None)
    prompt, answer = (found + _ADDED_TOKENS for found in longest)
    room = max(2, positions - (kind.prefix.tokens if kind.prefix else 0))
    if not TASKS[scenario.task].draws_output_tokens:
        return dataset.model_copy(update={"input_tokens": dataset.input_tokens or Range(min=1, max=min(prompt, room))})
    most = dataset.most_tokens or room
    return dataset.model_copy(
        update={
            "input_tokens": dataset.input_tokens or Range(min=1, max=min(prompt, most - 1)),
            "output_tokens": dataset.output_tokens or Range(min=1, max=min(answer, most - 1)),
            "most_tokens": most,
        }
    )
