"""Results of experiments, each under a key that carries its type."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Key(Generic[T]):
    """The key of one result. `name`: its key in summary.json. A result that is not `summarised` is dropped when the whole run has been
    analysed.
    """

    name: str
    summarised: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """The results of all experiments for a deployment or for a run. An experiment that was not requested has its keys too, with the value
    for that case.
    """

    values: Mapping[Key[Any], Any] = field(default_factory=dict)

    def __getitem__(self, key: Key[T]) -> T:
        value: T = self.values[key]
        return value

    def put(self, key: Key[T], value: T) -> Found:
        """A copy with this result added or replaced."""
        return Found({**self.values, key: value})

    def __or__(self, other: Found) -> Found:
        return Found({**self.values, **other.values})

    def summarised(self) -> Found:
        """The results that summary.json contains, without those that only the analysis uses."""
        return Found({key: value for key, value in self.values.items() if key.summarised})

    def by_name(self) -> dict[str, Any]:
        return {key.name: value for key, value in self.values.items()}
