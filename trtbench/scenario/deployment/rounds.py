"""Rounds: all that is compared is run several times, in an order in which a drift of the machine favours nothing."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import Field

from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.parts.bounds import Repeats
from trtbench.scenario.parts.part import Part

T = TypeVar("T")


class Rounds(Part):
    """Each cell is several deployments of the run, one in each round. Their names end in the number of the round, as in base-r2."""

    order: Literal["random", "interleaved"] = Field(
        "random", description="Order of cells and engines in each repeat: shuffled by seeds.order (random), or as written (interleaved)."
    )

    shown_as_one: ClassVar[bool] = False
    """Whether tables of the report show a deployment once, over its rounds, and not each round."""

    @property
    @abstractmethod
    def most_rounds(self) -> int:
        """The number of rounds, or the largest number if the run itself decides."""

    def cell_of(self, deployment: str) -> str:
        """The cell that a deployment repeats."""
        return re.sub(r"-r\d+$", "", deployment) if self.most_rounds > 1 else deployment

    def round_of(self, deployment: str) -> int:
        return int(deployment.rpartition("-r")[2]) if self.most_rounds > 1 else 1

    def repeated(self, cells: Mapping[str, Deployment]) -> dict[str, Deployment]:
        """The deployments that are run, by name."""
        rounds = range(1, self.most_rounds + 1)
        names = {(cell, r): f"{cell}-r{r}" if self.most_rounds > 1 else cell for cell in cells for r in rounds}
        return {name: cells[cell] for (cell, _), name in names.items()}


class Multiplied(Rounds):
    """What a grid and a scaling have in common: one deployment becomes cells along axes, each of them measured `repeats` times."""

    repeats: Repeats = Field(1, description="Number of times that each cell is served and measured; intervals need two.")
    base: Deployment | None = Field(None, description="trtbench fills this in: the deployment that was multiplied.")
    left_out: dict[str, str] = Field(
        {}, description="trtbench fills this in: axes, or values of an axis, that the provider does not support, with the reason."
    )

    @property
    def most_rounds(self) -> int:
        return self.repeats

    @property
    @abstractmethod
    def axes(self) -> Mapping[Any, tuple[Any, ...]]:
        """The axes that are given, each with its values."""


def run_order(rounds: Rounds | None, deployments: Sequence[str], engines: Sequence[T], seed: int) -> Iterator[tuple[T, str]]:
    """(Engine, deployment) in the order of the run. Cells go round by round, so that a drift affects all of them alike."""
    pairs = [(engine, name) for name in deployments for engine in engines]
    if rounds is None:
        yield from pairs
        return
    random = Random(seed)  # noqa: S311 - an order, not a secret
    for number in range(1, rounds.most_rounds + 1):
        one = [pair for pair in pairs if rounds.round_of(pair[1]) == number]
        if rounds.order == "random":
            random.shuffle(one)
        yield from one
