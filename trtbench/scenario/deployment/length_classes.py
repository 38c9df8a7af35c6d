"""Adaptive batching: requests are divided by the length of their inputs, and each class may have batching settings of its own."""

from __future__ import annotations

from itertools import pairwise
from math import inf
from typing import Annotated, Literal

from pydantic import Field, model_validator

from trtbench.scenario.parts.bounds import AtMost, Count, Instances, Microseconds, RatioInside
from trtbench.scenario.parts.part import Name, Part

_MOST_CLASSES = 8
Policy = Literal["one_size", "adaptive"]


class LengthClass(Part):
    """A class of requests. A setting that is left out has the deployment's value."""

    upto_input_tokens: Count | None = Field(None, description="Longest input of the class, in tokens; the last class has no bound.")
    upto_quantile: RatioInside | None = Field(
        None, description="In place of upto_input_tokens: the share of the workload's requests that are in this class or a shorter one."
    )
    instances: Instances = Field(1, description="Model instances for the class; those of all classes are the deployment's instances.")
    max_batch_size: Count | None = Field(None, description="Largest batch that Triton's batcher forms.")
    preferred_batch_sizes: tuple[Count, ...] | None = Field(None, description="Batch sizes that Triton's batcher waits for.")
    max_queue_delay_us: Microseconds | None = Field(None, description="How long the batcher holds a request, microseconds.")
    max_sequences: Count | None = Field(None, description="In-flight batching: most requests in the engine's running batch.")
    max_tokens_per_step: Count | None = Field(None, description="In-flight batching: most tokens of one engine step.")

    @property
    def bound(self) -> float | None:
        """The upper bound of the class, in tokens or as a quantile; None if it has none."""
        return self.upto_quantile if self.upto_input_tokens is None else self.upto_input_tokens

    @model_validator(mode="after")
    def _one_bound(self) -> LengthClass:
        if self.upto_input_tokens is not None and self.upto_quantile is not None:
            raise ValueError("upto_input_tokens and upto_quantile are two bounds of one class: give one of them")
        return self


class Batching(Part):
    """Length classes, and whether they are served apart. With `one_size` they only divide the figures of the report, so that one grid
    compares both policies.
    """

    policy: Policy = Field(
        "adaptive",
        description="adaptive: each class has a model of its own in the server, to which the client sends its requests. one_size: one "
        "model serves all of them, and the report shows each class.",
    )
    classes: Annotated[dict[Name, LengthClass], AtMost(_MOST_CLASSES)] = Field(
        min_length=2, description="Classes by name. All but one have a bound; that one takes the longest inputs."
    )

    @model_validator(mode="after")
    def _ascend(self) -> Batching:
        longest = [name for name, one in self.classes.items() if one.bound is None]
        if len(longest) != 1:
            found = f"{', '.join(longest)} have none" if longest else "each has one"
            raise ValueError(f"classes: exactly one, for the longest inputs, is without upto_input_tokens or upto_quantile; {found}")
        *bounded, _ = self.in_order.items()
        if len({one.upto_quantile is None for _, one in bounded}) > 1:
            raise ValueError("classes: some bounds are tokens and some are quantiles: give all of them in one way")
        for (first, one), (second, other) in pairwise(bounded):
            if one.bound == other.bound:
                raise ValueError(f"classes: {first} and {second} have the same bound ({one.bound:g}): give each its own")
        return self

    @property
    def in_order(self) -> dict[str, LengthClass]:
        """The classes from the shortest inputs to the longest."""
        return dict(sorted(self.classes.items(), key=lambda item: inf if item[1].bound is None else item[1].bound))

    @property
    def instances(self) -> int:
        """The instances of all classes."""
        return sum(one.instances for one in self.classes.values())
