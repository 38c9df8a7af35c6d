"""A scenario as the provider that was found can run it: what is another provider's alone is settled, what means nothing is left out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from trtbench.engine.spec import EngineProvider
from trtbench.run.resolve.dataset_bounds import bounded
from trtbench.rundir.traits import Traits
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario
from trtbench.serving.repository.renderers import RENDERERS

_BUILT_IN = {"max_sequences": "max_batch_size", "max_tokens_per_step": "max_num_tokens"}
"""Axes of a grid, and the build options that set the same limit."""


def fitted(scenario: Scenario, provider: EngineProvider) -> Scenario:
    """The same scenario where there is nothing to settle. Fitting again changes nothing.

    UserError where none of its axes means anything to the provider, or where `build` fixes one.
    """
    left_out = dict(_left_out(scenario, provider))
    every = [*scenario.deployments.values(), *([scenario.rounds.base] if scenario.rounds and scenario.rounds.base else [])]
    if not left_out and not any(deployment.cpu for deployment in every):
        return bounded(scenario)
    tree = yaml.safe_load(scenario.dump())
    if scenario.rounds:
        _shorten(tree, scenario, provider, left_out)
    for deployment in tree["deployments"].values():
        _settle_cpu(deployment, provider.traits)
    return bounded(parse_scenario(tree, scenario.name))


def _left_out(scenario: Scenario, provider: EngineProvider) -> Iterator[tuple[tuple[str, Any], str]]:
    """((axis, value), reason); the value None is the whole axis."""
    rounds = scenario.grid or scenario.scaling
    for axis in rounds.axes if rounds else ():
        if why := RENDERERS[provider.name].fixed_axes.get(axis):
            yield (axis, None), f"provider {provider.name} cannot vary it: {why}"
    if scenario.grid and provider.traits.build_limits_hold:
        _check_build(scenario, scenario.grid.axes)
    if scenario.grid and provider.traits.builds_per_scheduler_limits:
        least = scenario.build.kv_block_tokens or provider.kv_block_tokens
        for tokens in scenario.grid.max_tokens_per_step:
            if tokens < least:
                yield ("max_tokens_per_step", tokens), f"TensorRT-LLM builds for no fewer than the {least} tokens of a KV block"


def _check_build(scenario: Scenario, axes: Mapping[str, Any]) -> None:
    """ScenarioError for an axis that `build` holds fast: every cell would be served alike."""
    for axis, key in _BUILT_IN.items():
        holder = "engine_dir" if scenario.build.engine_dir else key
        if axis in axes and getattr(scenario.build, holder) is not None:
            raise ScenarioError(
                f"grid.{axis} varies what build.{holder} = {getattr(scenario.build, holder)} holds fast: drop one of them; "
                f"without build.{holder} an engine is built for each value"
            )


def _shorten(tree: dict[str, Any], scenario: Scenario, provider: EngineProvider, left_out: Mapping[tuple[str, Any], str]) -> None:
    """The base in the place of its cells, less what is left out, so that reading it expands it anew."""
    key = "grid" if scenario.grid else "scaling"
    part, rounds = tree[key], scenario.rounds
    assert rounds is not None, "asked of a scenario with a grid or a scaling alone"
    had = (scenario.grid or scenario.scaling).axes  # type: ignore[union-attr]
    for axis, value in left_out:
        part[axis] = [] if value is None else [one for one in part[axis] if one != value]
    if had and not any(part[axis] for axis in had):
        why = "; ".join(f"{axis}: {reason}" for (axis, _), reason in left_out.items())
        raise ScenarioError(f"{key}: none of its axes means anything to provider {provider.name} ({why}): give it one that does")
    names = {axis if value is None else f"{axis} {value}": reason for (axis, value), reason in left_out.items()}
    name = rounds.cell_of(next(iter(scenario.deployments))) if not had else "base"
    tree["deployments"] = {name: part["base"]}
    part |= {"base": None, "left_out": part["left_out"] | names}


def _settle_cpu(deployment: dict[str, Any], traits: Traits) -> None:
    cpu = deployment.pop("cpu", None)
    if cpu and traits.takes_cpu_threads and deployment["inference_threads"] is None:
        deployment["inference_threads"] = cpu["inference_threads"]
