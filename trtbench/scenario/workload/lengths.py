"""Numbers of tokens (or turns): fixed, or drawn from a distribution. Every distribution has the bounds `min` and `max` and the mean
`expected`.
"""

from __future__ import annotations

import math
import sys
from abc import abstractmethod
from collections.abc import Iterable
from statistics import NormalDist
from typing import Annotated, Any

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from trtbench.scenario.parts.bounds import MOST_TOKENS, Between, CountOrNone, LogDeviation, Tokens, TokensDeviation, TokensMean, Weight
from trtbench.scenario.parts.part import Part
from trtbench.scenario.workload.lengths_file import LengthsFile, count_lengths

_ONE_LENGTH = Between(1, MOST_TOKENS)
_LEAST_MASS = 0.01  # a law that is nearly all outside its bounds is a slip of the pen


class Range(Part):
    """A uniform integer range, both ends included."""

    min: Tokens = Field(description="Smallest length.")
    max: Tokens = Field(description="Largest length.")

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if self.max < self.min:
            raise ValueError(f"max ({self.max}) is below min ({self.min})")
        return self

    @property
    def expected(self) -> float:
        return (self.min + self.max) / 2


class _Truncated(Part):
    """A distribution of a normal variable, conditional on min..max and rounded: values outside are drawn again, not moved to the bound."""

    min: Tokens = Field(1, description="Smallest length; shorter draws are repeated.")
    max: Tokens = Field(description="Largest length; longer draws are repeated. It must fit the model's positions and the KV cache.")

    @model_validator(mode="after")
    def _mass(self) -> _Truncated:
        if self.max < self.min:
            raise ValueError(f"max ({self.max}) is below min ({self.min})")
        low, high = self.quantiles
        if high - low < _LEAST_MASS:
            raise ValueError(f"only {high - low:.2%} of the law lies within min {self.min} and max {self.max}: widen them, or move the law")
        return self

    @property
    @abstractmethod
    def normal(self) -> NormalDist:
        """The normal variable before truncation."""

    @property
    def quantiles(self) -> tuple[float, float]:
        """Shares of the untruncated distribution below the bounds. Lengths are rounded, so the bounds are half a token further out."""
        return self.normal.cdf(self.of_length(self.min - 0.5)), self.normal.cdf(self.of_length(self.max + 0.5))

    def lengths_at(self, shares: Iterable[float]) -> list[int]:
        """The inverse distribution function of the truncated distribution: the lengths at these shares, 0 to 1."""
        low, high = self.quantiles
        within = (min(max(low + share * (high - low), sys.float_info.min), 1 - sys.float_info.epsilon / 2) for share in shares)
        return [min(max(round(self.to_length(value)), self.min), self.max) for value in map(self.normal.inv_cdf, within)]

    @staticmethod
    def of_length(length: float) -> float:
        """The value of the normal variable at a length."""
        return length

    @staticmethod
    def to_length(value: float) -> float:
        return value


class Normal(_Truncated):
    """Normal lengths, truncated."""

    mean: TokensMean = Field(description="Value of the distribution before truncation.")
    stddev: TokensDeviation = Field(description="Value of the distribution before truncation.")

    @property
    def normal(self) -> NormalDist:
        return NormalDist(self.mean, self.stddev)

    @property
    def expected(self) -> float:
        """The mean of the truncated distribution; Johnson, Kotz and Balakrishnan, Continuous Univariate Distributions 1, section 10.1."""
        low, high = self.quantiles
        edges = self.normal.pdf(self.min - 0.5) - self.normal.pdf(self.max + 0.5)
        return self.mean + self.stddev**2 * edges / (high - low)


class Lognormal(_Truncated):
    """Lengths whose logarithm is normal, truncated: the shape of most real traffic."""

    median: TokensMean = Field(description="Value of the distribution before truncation.")
    sigma: LogDeviation = Field(description="Standard deviation of the natural logarithm.")

    @property
    def normal(self) -> NormalDist:
        return NormalDist(math.log(self.median), self.sigma)

    @staticmethod
    def of_length(length: float) -> float:
        return math.log(length)

    @staticmethod
    def to_length(value: float) -> float:
        return math.exp(value)

    @property
    def expected(self) -> float:
        """The mean of the truncated distribution: the untruncated mean, weighted by a normal distribution that is shifted by sigma
        squared.
        """
        low, high = self.quantiles
        moved = NormalDist(self.normal.mean + self.sigma**2, self.sigma)
        within = moved.cdf(math.log(self.max + 0.5)) - moved.cdf(math.log(self.min - 0.5))
        return self.median * math.exp(self.sigma**2 / 2) * within / (high - low)


class Empirical(Part):
    """Given lengths, each as likely as its weight."""

    values: tuple[Tokens, ...] = Field(min_length=1)
    weights: tuple[Weight, ...] = Field((), description="A weight for each value; if empty, all values are equally likely.")
    left_out: CountOrNone = Field(0, description="trtbench fills this in: number of rows of the file with a length of 0.")

    @model_validator(mode="after")
    def _paired(self) -> Empirical:
        if self.weights and len(self.weights) != len(self.values):
            raise ValueError(f"{len(self.weights)} weights for {len(self.values)} values: give one weight a value, or none")
        if self.weights and not sum(self.weights):
            raise ValueError("the weights add up to nothing: give at least one above 0")
        return self

    @property
    def shares(self) -> tuple[float, ...]:
        """Probability of each value."""
        weights = self.weights or (1.0,) * len(self.values)
        total = math.fsum(weights)
        return tuple(weight / total for weight in weights)

    @property
    def min(self) -> int:
        return min(self.values)

    @property
    def max(self) -> int:
        return max(self.values)

    @property
    def expected(self) -> float:
        return math.fsum(value * share for value, share in zip(self.values, self.shares, strict=True))


_KINDS = {
    "mean": "<normal>",
    "stddev": "<normal>",
    "median": "<lognormal>",
    "sigma": "<lognormal>",
    "values": "<empirical>",
    "left_out": "<empirical>",
    "weights": "<empirical>",
}
_TAGS: dict[type, str] = {Range: "<uniform>", Normal: "<normal>", Lognormal: "<lognormal>", Empirical: "<empirical>"}


def _kind(lengths: object) -> str | None:
    """The distribution that a mapping means, by its keys. Tags in <> are not keys, and error messages leave them out."""
    if isinstance(lengths, dict):
        return next((_KINDS[key] for key in lengths if key in _KINDS), "<uniform>")
    return _TAGS.get(type(lengths))


def _as_law(lengths: object) -> Any:
    """The distribution of a value. A number is a range of one; a file is replaced by its values, so that the effective scenario does
    not need the file.
    """
    if (isinstance(lengths, int) and not isinstance(lengths, bool)) or (isinstance(lengths, float) and lengths.is_integer()):
        lengths = _ONE_LENGTH.whole(lengths)
        return {"min": lengths, "max": lengths}
    if isinstance(lengths, dict) and "file" in lengths:
        return count_lengths(LengthsFile.model_validate(lengths))
    return lengths


_WRITTEN = "write a number, {min, max}, {mean, stddev, max}, {median, sigma, max}, {values, weights} or {file, key}"

Lengths = Annotated[
    Annotated[Range, Tag("<uniform>")]
    | Annotated[Normal, Tag("<normal>")]
    | Annotated[Lognormal, Tag("<lognormal>")]
    | Annotated[Empirical, Tag("<empirical>")],
    Discriminator(_kind, custom_error_type="lengths", custom_error_message=_WRITTEN),
    BeforeValidator(_as_law, json_schema_input_type=Tokens | Range | Normal | Lognormal | Empirical | LengthsFile),
]
"""A number, or a distribution: uniform, normal, lognormal or empirical. Always a distribution once read."""
