"""Scaling: one deployment enlarged along an axis, with a load that grows with it or stays constant."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from pydantic import Field, ValidationError, model_validator

from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.deployment.gpu_settings import GpuName
from trtbench.scenario.deployment.rounds import Multiplied
from trtbench.scenario.load.stage import Ramp, Stage
from trtbench.scenario.parts.bounds import OF_A_RUN, Instances, RatioInside, Servers, Threads

Axis = Literal["instances", "inference_threads", "gpus", "servers"]

_AXES: dict[Axis, str] = {"instances": "instances", "inference_threads": "threads", "gpus": "gpus", "servers": "servers"}
"""For each axis, the name of its points, as in threads-2."""


class Scaling(Multiplied):
    """Each axis is a curve from its smallest point on. Settings that an axis does not vary are those of the one deployment."""

    instances: tuple[Instances, ...] = Field((), description="Vertical: model instances in one server.")
    inference_threads: tuple[Threads, ...] = Field((), description="Vertical: CPU threads of the engine.")
    gpus: tuple[tuple[GpuName, ...], ...] = Field(
        (), description="Vertical: lists of GPUs, as [[0], [0, 1]], or of UUIDs; each GPU or MIG instance gets a server of its own."
    )
    servers: tuple[Servers, ...] = Field((), description="Horizontal: Triton servers behind the deployment's replicas.balancer.")
    load: Literal["per_unit", "fixed"] = Field(
        "per_unit",
        description="per_unit: users or rate, requests and warm-up are those of one unit and grow with their number, so that every point "
        "is as busy (weak scaling); fixed: the same load on every point (strong scaling).",
    )
    efficiency_bound_ratio: RatioInside = Field(0.8, description="The curve bends at the first point whose efficiency is below it.")

    @property
    def axes(self) -> dict[Axis, tuple[Any, ...]]:
        """The axes that are given, each with its values."""
        return {axis: values for axis in _AXES if (values := getattr(self, axis))}

    @model_validator(mode="after")
    def _varies(self) -> Scaling:
        if not self.axes:
            raise ValueError(f"has no axis, so nothing is scaled: give one of {', '.join(_AXES)}")
        for axis, values in self.axes.items():
            units = [_units(value) for value in values]
            if 0 in units:
                raise ValueError(f"{axis} has a point without any: give each at least one")
            if len(set(units)) < max(2, len(units)):
                raise ValueError(f"{axis} {list(values)}: give at least two points, of different size each")
        return self

    def check_load(self, stages: tuple[Stage, ...]) -> None:
        """ValueError for a stage whose throughput cannot be compared with a multiple of it."""
        for stage in stages:
            if stage.mode in ("trace", "burst") or isinstance(stage.concurrency, Ramp) or isinstance(stage.rate, Ramp):
                raise ValueError(
                    f"scaling compares one held level, stage {stage.label} changes it: give a number of users, or a constant, poisson or "
                    "gamma rate"
                )

    def check_points(self, stages: tuple[Stage, ...], deployments: Iterable[str]) -> None:
        """ValueError for a stage that exceeds an upper bound when it grows with a point."""
        for units in sorted({self.point_of(name)[1] for name in deployments}):
            for number, stage in enumerate(stages):
                try:
                    Stage.model_validate(self.stage_at(stage, units).model_dump())
                except ValidationError as error:
                    key = ".".join(map(str, error.errors()[0]["loc"][:1]))
                    why = error.errors()[0]["msg"].removeprefix("Value error, ")
                    raise ValueError(
                        f"load.{number}{'.' if key else ''}{key} of {stage.label} is multiplied by {units} (scaling.load per_unit): {why}; "
                        "lower it, or set scaling.load: fixed"
                    ) from error

    def point_of(self, deployment: str) -> tuple[Axis, int]:
        """(axis, units) of a deployment of this scaling."""
        name, _, units = self.cell_of(deployment).rpartition("-")
        return next(axis for axis, short in _AXES.items() if short == name), int(units)

    def points(self, axis: Axis) -> dict[int, str]:
        """The points of an axis by their units, the smallest first."""
        return {units: f"{_AXES[axis]}-{units}" for units in sorted(map(_units, getattr(self, axis)))}

    def stage_at(self, stage: Stage, units: int) -> Stage:
        """The load of a point with this number of units. The name of a stage stays the same."""
        if self.load == "fixed":
            return stage
        level = "concurrency" if stage.mode == "concurrency" else "rate"
        grown: dict[str, Any] = {key: value * units for key in (level, "requests", "warmup_requests") if (value := getattr(stage, key))}
        return stage.model_copy(update=grown | {"name": stage.label})

    def named(self, stage: Stage) -> Stage:
        """The stage, renamed if its name would contain a level that is multiplied and so differs from point to point."""
        if self.load == "fixed" or stage.name:
            return stage
        return stage.model_copy(update={"name": f"{stage.label}-a-unit"})


def points_of(scaling: Scaling, base: Deployment) -> dict[str, Deployment]:
    """The deployment of every point by its name; ValueError (pydantic's) if the base does not fit a value."""
    axes = scaling.axes.items()
    return {scaling.points(axis)[_units(value)]: _at(base, axis, value) for axis, values in axes for value in values}


def expand_scaling(scaling: Scaling, deployments: Mapping[str, Deployment]) -> tuple[Scaling, dict[str, Deployment]]:
    """The scaling with its base filled in, and the deployments that are run. A second expansion changes nothing.

    ValueError if there is no single base, or if a filled-in base does not give these deployments.
    """
    if scaling.base is None and len(deployments) > 1:
        raise ValueError(f"scaling multiplies one deployment, deployments has {', '.join(deployments)}: leave one, or drop scaling")
    base = scaling.base or next(iter(deployments.values()))
    expanded = scaling.repeated(points_of(scaling, base))
    if scaling.base is not None and dict(deployments) != expanded:
        raise ValueError(
            "scaling.base is filled in, but deployments are not this scaling's points: drop scaling.base and give the one deployment"
        )
    return scaling.model_copy(update={"base": base}), expanded


def _units(value: Any) -> int:
    return len(value) if isinstance(value, tuple) else int(value)


def _at(base: Deployment, axis: Axis, value: Any) -> Deployment:
    tree = base.model_dump()
    if axis in ("gpus", "servers"):
        tree["replicas"] |= {"servers": 1, "gpus": ()} | {axis: value}
    else:
        tree[axis] = value
    return Deployment.model_validate(tree, context=OF_A_RUN)  # the base and the axes are within their own bounds
