"""A batching grid: one base deployment multiplied over axes. Every cell is run `repeats` times, in an order in which drift cannot
favour a cell.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from pydantic import Field, ValidationError, ValidationInfo, model_validator

from trtbench.scenario.deployment.deployment import Deployment, LocalCache, RedisCache, ResponseCache
from trtbench.scenario.deployment.length_classes import Policy
from trtbench.scenario.deployment.rounds import Multiplied
from trtbench.scenario.parts.bounds import MOST_DEPLOYMENTS, OF_A_RUN, Count, Instances, Microseconds, is_of_a_run
from trtbench.scenario.parts.part import MOST_NAME_CHARACTERS, NAME_PATTERN, worded

LEAST_SEARCH_REPEATS = 3

_AXES = {  # axis: (letter in a cell's name, part of the deployment, its key)
    "max_batch_size": ("b", None, "max_batch_size"),
    "preferred_batch_sizes": ("p", "dynamic_batching", "preferred_batch_sizes"),
    "max_queue_delay_us": ("d", "dynamic_batching", "max_queue_delay_us"),
    "instances": ("i", None, "instances"),
    "max_sequences": ("s", "scheduler", "max_sequences"),
    "max_tokens_per_step": ("t", "scheduler", "max_tokens_per_step"),
    "response_cache": ("cache", None, "response_cache"),
    "policy": ("", "batching", "policy"),
}


class Grid(Multiplied):
    """Axes of settings of the one deployment. A setting without an axis keeps the deployment's value."""

    max_batch_size: tuple[Count, ...] = Field((), description="Triton's batcher: largest batch.")
    preferred_batch_sizes: tuple[tuple[Count, ...], ...] = Field((), description="Triton's batcher: lists of sizes it waits for.")
    max_queue_delay_us: tuple[Microseconds, ...] = Field((), description="Triton's batcher: longest hold, microseconds.")
    instances: tuple[Instances, ...] = Field((), description="Model instances.")
    max_sequences: tuple[Count, ...] = Field((), description="In-flight batching: most requests in the engine's running batch.")
    max_tokens_per_step: tuple[Count, ...] = Field((), description="In-flight batching: most tokens of one engine step.")
    response_cache: tuple[ResponseCache | None, ...] = Field((), description="Triton's response cache: null is off.")
    policy: tuple[Policy, ...] = Field((), description="Length classes: one_size, or adaptive, with a model for each class.")
    search: bool = Field(
        False, description="Drop cells that cannot win from the third round on, so that fewer runs find the winner; needs 3 repeats."
    )

    @property
    def axes(self) -> dict[str, tuple[Any, ...]]:
        """The axes that are given, each with its values."""
        return {axis: values for axis in _AXES if (values := getattr(self, axis))}

    @model_validator(mode="after")
    def _varies(self, info: ValidationInfo) -> Grid:
        if not self.axes and self.repeats == 1:
            raise ValueError(f"has no axis and one repeat, so nothing to compare: give one of {', '.join(_AXES)}")
        if self.search and self.repeats < LEAST_SEARCH_REPEATS:
            raise ValueError(f"search drops cells after two rounds, repeats is {self.repeats}: set repeats to 3 or more, or drop search")
        runs = math.prod(map(len, self.axes.values())) * self.repeats
        if runs > MOST_DEPLOYMENTS and not is_of_a_run(info):
            raise ValueError(f"makes {runs:,} deployments, the upper bound is {MOST_DEPLOYMENTS:,}: drop values, or lower repeats")
        for axis, values in self.axes.items():
            labels = self.labels_of(axis)
            twice = [str(value) for value, label in zip(values, labels, strict=True) if labels.count(label) > 1]
            if twice:
                raise ValueError(f"{axis}: {', '.join(dict.fromkeys(twice))} is listed twice; give each value once")
        return self

    def labels_of(self, axis: str) -> tuple[str, ...]:
        """The axis's values as text, in order."""
        return tuple(map(_label_of, self.axes[axis]))

    def values_of(self, deployment: Deployment) -> dict[str, str]:
        """The position of a cell on the axes, as `labels_of` writes them."""
        places = {axis: _AXES[axis][1:] for axis in self.axes}
        return {axis: _label_of(getattr(getattr(deployment, part) if part else deployment, key)) for axis, (part, key) in places.items()}


@dataclass(frozen=True)
class Cells:
    """`cells`: deployments by cell. `left_out`: cells that no deployment can have, and those that the grid excludes, with the reason."""

    cells: dict[str, Deployment]
    left_out: dict[str, str]


def cells_of(grid: Grid, base: Deployment, base_name: str = "base") -> Cells:
    """Every combination of the axes on `base`; ValueError if the base cannot take an axis or a name grows too long."""
    cells: dict[str, Deployment] = {}
    left_out = dict(grid.left_out)
    adaptive: dict[tuple[str, ...], str] = {}
    for values in product(*grid.axes.values()):
        chosen = dict(zip(grid.axes, values, strict=True))
        name = "-".join(_label(axis, value) for axis, value in chosen.items()) or base_name
        _check_name(name, f"{name}-r{grid.repeats}")
        try:
            cells[name] = Deployment.model_validate(_changed(base, chosen), context=OF_A_RUN)  # each value is within its axis' bounds
        except ValidationError as error:
            left_out[name] = "; ".join(worded(problem, Deployment) for problem in error.errors())
            continue
        models = tuple(one.model_dump_json() for one in cells[name].of_classes.values())
        if models and (same := adaptive.setdefault(models, name)) != name:
            del cells[name]
            left_out[name] = f"its classes have settings of their own, so that it is the same as {same}"
    return Cells(cells, left_out)


def _check_name(cell: str, repeated: str) -> None:
    """ValueError if a name cannot be that of a directory. `repeated`: the cell's name with the round."""
    if len(repeated) > MOST_NAME_CHARACTERS:
        raise ValueError(
            f"the cell {cell} has a name of over {MOST_NAME_CHARACTERS} characters: shorten preferred_batch_sizes or drop an axis"
        )
    if not re.match(NAME_PATTERN, repeated):
        bad = "".join(dict.fromkeys(re.sub(r"[A-Za-z0-9._-]", "", repeated))) or repeated[0]
        raise ValueError(f"the cell {cell} has {bad!r} in its name, which becomes a directory's: give its axes values without")


def expand(grid: Grid, deployments: Mapping[str, Deployment]) -> tuple[Grid, dict[str, Deployment]]:
    """The grid with its base filled in, and the deployments that are run. A second expansion changes nothing.

    ValueError if there is no single base, if no cell is left, or if a filled-in base does not give these deployments.
    """
    if grid.base is None and len(deployments) > 1:
        raise ValueError(f"grid multiplies one deployment, deployments has {', '.join(deployments)}: leave one, or drop the grid")
    base_name = next(iter(deployments))
    base = grid.base or deployments[base_name]
    found = cells_of(grid, base, base_name if grid.base is None else grid.cell_of(base_name))
    if not found.cells:
        raise ValueError(f"grid: no cell can be served: {'; '.join(found.left_out.values())}")
    expanded = grid.repeated(found.cells)
    if grid.base is not None and dict(deployments) != expanded:
        raise ValueError("grid.base is filled in, but deployments are not this grid's cells: drop grid.base and give the one deployment")
    return grid.model_copy(update={"base": base}), expanded


def _label(axis: str, value: Any) -> str:
    return _AXES[axis][0] + _label_of(value)


def _label_of(value: Any) -> str:
    if value is None or isinstance(value, (LocalCache, RedisCache)):
        return value.label if value else "0"
    return "_".join(map(str, value)) or "0" if isinstance(value, tuple) else str(value)


def _changed(base: Deployment, chosen: Mapping[str, Any]) -> dict[str, Any]:
    tree = base.model_dump()
    for axis, value in chosen.items():
        _, part, key = _AXES[axis]
        if part and tree[part] is None:
            raise ValueError(f"grid varies {axis}, the deployment's {part} is null: give it one, or drop the axis")
        (tree[part] if part else tree)[key] = value
    return tree
