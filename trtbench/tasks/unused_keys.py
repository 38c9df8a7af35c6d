"""The keys of a scenario that have no meaning for its task. Giving one is an error, and they are not written out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from trtbench.experiments.grid.spec import Grid
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.deployment.rounds import Multiplied
from trtbench.scenario.parts.part import Part
from trtbench.scenario.workload.request_kind import RequestKind
from trtbench.scenario.workload.workload import Workload
from trtbench.tasks.registry import TASKS
from trtbench.tasks.task import Task


@dataclass(frozen=True)
class UnusedKey:
    """A key without meaning. `key` belongs to `part`, which is at `place` in the scenario and is called `kind` in `Task.unused_keys`."""

    place: tuple[str, ...]
    part: Part
    kind: str
    key: str

    @property
    def where(self) -> str:
        return ".".join((*(("deployments", "base") if self.place[1:] == ("base",) else self.place), self.key))

    @property
    def is_given(self) -> bool:
        """Whether the key has another value than its default."""
        default = type(self.part).model_fields[self.key].get_default(call_default_factory=True)
        return bool(getattr(self.part, self.key) != default)


def unused_keys(
    task: Task,
    scenario: Part,
    build: Part,
    workload: Workload,
    deployments: Mapping[str, Deployment],
    multiplied: Multiplied | None,
    slo: Part,
) -> Iterator[UnusedKey]:
    """The keys of a scenario that its task does not use. `multiplied`: the grid, or the scaling."""
    parts: list[tuple[tuple[str, ...], Part, str]] = [((), scenario, "scenario"), (("build",), build, "build"), (("slo",), slo, "slo")]
    parts += [(("workload",), workload, "workload"), (("workload",), workload, "kind")]
    parts += [(("workload", "mix", name), kind, "kind") for name, kind in workload.mix.items()]
    if isinstance(multiplied, Grid):
        parts.append((("grid",), multiplied, "grid"))
    if multiplied and multiplied.base:
        parts.append((("grid" if isinstance(multiplied, Grid) else "scaling", "base"), multiplied.base, "deployment"))
    parts += [(("deployments", name), deployment, "deployment") for name, deployment in deployments.items()]
    for place, part, kind in parts:
        yield from (UnusedKey(place, part, kind, key) for key in task.unused_keys.get(kind, ()))


def check_task(task: Task, unused: Iterator[UnusedKey], kinds: Mapping[str, RequestKind]) -> None:
    """ValueError for a key that the task does not use, and for requests that it cannot have."""
    for one in unused:
        if one.is_given:
            value = getattr(one.part, one.key)
            shown = value.model_dump(exclude_defaults=True) if isinstance(value, Part) else value
            others = " or ".join(name for name, other in TASKS.items() if one.key not in other.unused_keys.get(one.kind, ()))
            raise ValueError(f"{one.where} ({shown}) has no meaning with task {task.name}: leave it out, or set task: {others}")
    for name, kind in kinds.items():
        where = f"workload.mix.{name}" if name else "workload"
        if kind.cancel and kind.cancel.after_tokens and not task.streams_tokens:
            raise ValueError(f"{where}.cancel.after_tokens: with task {task.name} no tokens come back: give after_s")
        if kind.input_tokens.min < task.least_input_tokens:
            raise ValueError(
                f"{where}.input_tokens goes down to {kind.input_tokens.min}: with task {task.name} the beginning and end that the model's "
                f"tokenizer adds count too; give at least {task.least_input_tokens}"
            )


def without_keys(tree: dict[str, Any], unused: Iterator[UnusedKey]) -> dict[str, Any]:
    """`tree`, a scenario's dump, without those keys."""
    for one in unused:
        part = tree
        for step in one.place:
            part = part.get(step, {})  # the servers of an endpoint have no deployments
        part.pop(one.key, None)
    return tree
