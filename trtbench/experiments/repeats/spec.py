"""Repeats: a plain load measured in several rounds, so that each figure has an interval across rounds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Annotated, Any, ClassVar

from pydantic import Field, ValidationInfo, model_validator

from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.deployment.rounds import Rounds
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.parts.bounds import MOST_DEPLOYMENTS, AtMost, RatioAboveZero, RoundCount, is_of_a_run
from trtbench.scenario.parts.part import MOST_NAME_CHARACTERS, Name, Part

LEAST_BEFORE_STOP = 5
"""The default of `least` with `until`. A run that stops as soon as its interval is narrow stops too early by chance; from five rounds on,
the interval contains the mean of the stage in 92 to 95 % of runs in place of 95 % (docs/repeats.md).
"""


class Until(Part):
    """No further round is begun once the interval of this figure is narrow in every stage."""

    metric: Annotated[str, AtMost(100)] = Field(
        description="A figure of docs/metrics.md, with the percentile if it is a distribution: ttft.p99, output_token_throughput."
    )
    relative_width: RatioAboveZero = Field(
        description="Largest width of its 95 % interval across rounds, as a share of its mean: 0.05 is the mean ± 2.5 %."
    )


class Repeats(Rounds):
    """`repeats: N` is `repeats: {most: N}`: N rounds. In each round every deployment is started and receives every stage."""

    shown_as_one: ClassVar[bool] = True

    most: RoundCount = Field(description="Number of rounds; with until their largest number.")
    least: RoundCount | None = Field(
        None, description=f"Number of rounds before the run may stop by until; null: {LEAST_BEFORE_STOP}, or most if that is less."
    )
    until: Until | None = Field(None, description="Stop before the last round, as soon as a figure is known well enough.")
    of: tuple[Name, ...] = Field((), description="trtbench fills this in: the deployments that are repeated.")

    @model_validator(mode="before")
    @classmethod
    def _of_number(cls, given: Any) -> Any:
        return {"most": given} if isinstance(given, int) and not isinstance(given, bool) else given

    @model_validator(mode="after")
    def _bounds_fit(self) -> Repeats:
        if self.until is None and self.least is not None:
            raise ValueError(f"least ({self.least}) goes with until, which is null: leave least out, or give until")
        if self.until and self.most < 3:
            raise ValueError(
                f"until needs two rounds for an interval and a third one to save, most is {self.most}: raise it, or drop until"
            )
        if self.least is not None and self.least > self.most:
            raise ValueError(f"least ({self.least}) is larger than most ({self.most}): lower it, or raise most")
        return self

    @property
    def most_rounds(self) -> int:
        return self.most

    @property
    def least_rounds(self) -> int:
        """The rounds that are run before the run may stop."""
        if self.until is None:
            return self.most
        return self.least or min(LEAST_BEFORE_STOP, self.most)

    def stages(self, load: Sequence[Stage], number: int, seed: int) -> tuple[Stage, ...]:
        """The stages in the order of round `number`, which all deployments have in it. A stage that sends the requests of another comes
        after that one.
        """
        if self.order == "interleaved":
            return tuple(load)
        shuffled = list(load)
        Random(f"{seed}/{number}").shuffle(shuffled)  # noqa: S311 - an order, not a secret
        return tuple(_originals_first(shuffled))

    def expand(self, deployments: Mapping[str, Deployment], info: ValidationInfo | None = None) -> tuple[Repeats, dict[str, Deployment]]:
        """The repeats with `of` filled in, and the deployments that are run. A second expansion changes nothing.

        ValueError for names or numbers that are too large, or if a filled-in `of` does not give these deployments.
        """
        if self.of and set(self.of) != set(deployments):  # a running endpoint has its one deployment not written out
            expanded = self.repeated({name: deployments[first] for name in self.of if (first := f"{name}-r1") in deployments})
            if dict(deployments) != expanded:
                raise ValueError(
                    "repeats.of is filled in, but deployments are not its rounds: drop repeats.of, and give each deployment once"
                )
            return self, dict(deployments)
        runs = len(deployments) * self.most
        if runs > MOST_DEPLOYMENTS and not (info and is_of_a_run(info)):
            raise ValueError(f"repeats: makes {runs:,} deployments, the upper bound is {MOST_DEPLOYMENTS:,}: lower repeats")
        for name in deployments:
            if len(f"{name}-r{self.most}") > MOST_NAME_CHARACTERS:
                raise ValueError(f"repeats: deployments.{name} with its round has over {MOST_NAME_CHARACTERS} characters: shorten the name")
        return self.model_copy(update={"of": tuple(deployments)}), self.repeated(deployments)


def _originals_first(shuffled: Sequence[Stage]) -> Iterator[Stage]:
    """The stages in this order, each that repeats another directly after it if it would come before."""
    waiting: dict[str, list[Stage]] = {}
    done: set[str] = set()
    for stage in shuffled:
        if stage.same_as is not None and stage.same_as not in done:
            waiting.setdefault(stage.same_as, []).append(stage)
            continue
        done.add(stage.label)
        yield stage
        yield from waiting.pop(stage.label, [])
