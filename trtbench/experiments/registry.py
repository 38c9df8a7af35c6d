"""The registry of experiments. Each is a folder here, and a row in the README's table of scenarios."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import ClassVar, TypeVar


class Role:
    """What an experiment does in one layer. The layer declares a subclass; an experiment has one object of it in its file `MODULE`,
    under the same name in capitals.
    """

    MODULE: ClassVar[str]


R = TypeVar("R", bound=Role)


@dataclass(frozen=True, slots=True)
class Experiment:
    """An experiment, whose roles belong to different layers. Each role is imported when it is requested, so that a report imports
    nothing that only a run needs.
    """

    package: str

    def role(self, kind: type[R]) -> R | None:
        """The experiment's object of this role, or None if it has no such file."""
        name = f"{self.package}.{kind.MODULE}"
        if find_spec(name) is None:
            return None
        found = getattr(import_module(name), kind.MODULE.upper())
        if not isinstance(found, kind):
            raise TypeError(f"{name}.{kind.MODULE.upper()} is a {type(found).__name__}; it has to be a {kind.__name__}")
        return found


EXPERIMENTS: dict[str, Experiment] = {
    "kv_cache": Experiment("trtbench.experiments.kv_cache"),
    "context_limit": Experiment("trtbench.experiments.context_limit"),
    "capacity": Experiment("trtbench.experiments.capacity"),
    "precision": Experiment("trtbench.experiments.precision"),
    "hot_reload": Experiment("trtbench.experiments.hot_reload"),
    "grid": Experiment("trtbench.experiments.grid"),
    "response_cache": Experiment("trtbench.experiments.response_cache"),
    "scaling": Experiment("trtbench.experiments.scaling"),
    "repeats": Experiment("trtbench.experiments.repeats"),
    "imported": Experiment("trtbench.experiments.imported"),
}
"""The experiments by name. Findings, reasons for doubt and sections of one grade and place are in this order."""


def roles(kind: type[R]) -> Iterator[R]:
    """The objects of this role, of all experiments that have one."""
    for experiment in EXPERIMENTS.values():
        role = experiment.role(kind)
        if role is not None:
            yield role
