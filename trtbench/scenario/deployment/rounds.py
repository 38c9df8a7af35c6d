"""Rounds: each cell is run several times, in an order in which a drift of the machine favours no cell."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, Literal, TypeVar

from pydantic import Field

from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.parts.bounds import Repeats
from trtbench.scenario.parts.part import Part

T = TypeVar("T")


class Rounds(Part):
    """What a grid and a scaling have in common: one deployment becomes cells, each of them `repeats` deployments of the run."""

    repeats: Repeats = Field(1, description="Number of times that each cell is served and measured; intervals need two.")
    order: Literal["random", "interleaved"] = Field(
        "random", description="Order of cells and engines in each repeat: shuffled by seeds.order (random), or as written (interleaved)."
    )
    base: Deployment | None = Field(None, description="trtbench fills this in: the deployment that was multiplied.")
    left_out: dict[str, str] = Field(
        {}, description="trtbench fills this in: axes, or values of an axis, that the provider does not support, with the reason."
    )

    @property
    @abstractmethod
    def axes(self) -> Mapping[Any, tuple[Any, ...]]:
        """The axes that are given, each with its values."""

    def cell_of(self, deployment: str) -> str:
        """The cell that a deployment repeats."""
        return re.sub(r"-r\d+$", "", deployment) if self.repeats > 1 else deployment

    def round_of(self, deployment: str) -> int:
        return int(deployment.rpartition("-r")[2]) if self.repeats > 1 else 1

    def repeated(self, cells: dict[str, Deployment]) -> dict[str, Deployment]:
        """The deployments that are run, by name."""
        names = {(cell, r): f"{cell}-r{r}" if self.repeats > 1 else cell for cell in cells for r in range(1, self.repeats + 1)}
        return {name: cells[cell] for (cell, _), name in names.items()}


def run_order(rounds: Rounds | None, deployments: Sequence[str], engines: Sequence[T], seed: int) -> Iterator[tuple[T, str]]:
    """(Engine, deployment) in the order of the run. Cells go round by round, so that a drift affects all of them alike."""
    pairs = [(engine, name) for name in deployments for engine in engines]
    if rounds is None:
        yield from pairs
        return
    random = Random(seed)  # noqa: S311 - an order, not a secret
    for number in range(1, rounds.repeats + 1):
        one = [pair for pair in pairs if rounds.round_of(pair[1]) == number]
        if rounds.order == "random":
            random.shuffle(one)
        yield from one
