"""Numbers as text: the only place where nanoseconds become milliseconds and bytes become GiB."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from trtbench.analysis.stats.estimate import Estimate
from trtbench.analysis.stats.percentile import Distribution

NONE = "-"
_NS_PER_MS = 1_000_000
_UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def number(value: float | None) -> str:
    """Three significant digits, or the whole part with thousands separated: 0.123, 1.23, 12.3, 123, 1,234."""
    if value is None:
        return NONE
    size = abs(value)
    decimals = 0 if size >= 100 or value == 0 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{decimals}f}"


def about(value: float | None, estimated: bool) -> str:
    """A number, preceded by ≈ if it is an estimate."""
    return f"≈ {number(value)}" if estimated and value is not None else number(value)


def whole(value: float | None) -> str:
    return NONE if value is None else f"{value:,.0f}"


def ms(value_ns: float | None) -> str:
    """Milliseconds, without the unit."""
    return NONE if value_ns is None else number(value_ns / _NS_PER_MS)


def percent(ratio: float | None) -> str:
    """A percentage with one decimal. A value above zero is never printed as 0%, and a value below one never as 100%."""
    if ratio is None:
        return NONE
    if 0 < abs(ratio) < 0.0005:
        return "<0.1%" if ratio > 0 else "-<0.1%"
    if 0.9995 <= ratio < 1:
        return ">99.9%"
    return f"{ratio:.1%}".replace(".0%", "%")


def size(value_bytes: float | None) -> str:
    if value_bytes is None:
        return NONE
    for unit_bytes, name in _UNITS:
        if abs(value_bytes) >= unit_bytes:
            return f"{number(value_bytes / unit_bytes)} {name}"
    return f"{value_bytes:,.0f} B"


def seconds(value_s: float | None) -> str:
    """A duration in suitable units: 4.2 s, 3 min 20 s, 24 h 0 min."""
    if value_s is None:
        return NONE
    if value_s < 60:
        return f"{number(value_s)} s"
    minutes, rest = divmod(round(value_s), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


def times(factor: float | None) -> str:
    """The ratio of two figures, as 1.42×."""
    return NONE if factor is None else f"{factor:.2f}×"


class Interval(Protocol):
    """A mean and half the width of its 95 % interval."""

    @property
    def mean(self) -> float: ...

    @property
    def half_width(self) -> float | None: ...


def with_half_width(text: str, half_width: float | None, shown: Callable[[float | None], str]) -> str:
    """A printed figure with half the width of its 95 % interval, as 12.3 ± 0.4."""
    return text if half_width is None else f"{text} ± {shown(half_width)}"


def estimate(value: Interval | None, shown: Callable[[float | None], str]) -> str:
    """A mean with its interval, as 1.42 ± 0.10; the mean alone if one repeat gives no interval, or if all are alike."""
    if value is None:
        return NONE
    return shown(value.mean) if not value.half_width else f"{shown(value.mean)} ± {shown(value.half_width)}"


INFINITE = "∞"


def statistic(values: Distribution, name: str, shown: Callable[[float | None], str]) -> str:
    """A figure of a distribution by its name, as mean or p99. A percentile of too few values is printed as its lower bound at 95 %, as
    ≥ 1,497; a figure beyond every value, because requests failed, as ∞.
    """
    value: float | None = getattr(values, name)
    if value is not None:
        return shown(value)
    if name in (values.infinite or ()):
        return INFINITE
    lower, _ = values.intervals.get(name, (None, None))
    return NONE if lower is None else f"≥ {shown(lower)}"


def statistic_over_rounds(values: Sequence[Distribution], name: str, shown: Callable[[float | None], str]) -> str:
    """A figure of one distribution for each round: its mean over the rounds with its interval.

    If a round has too few values for the percentile, the mean of the lower bounds is printed, which bounds the mean of the percentiles.
    """
    if found := Estimate.over(values, lambda one: getattr(one, name)):
        return estimate(found, shown)
    if any(name in (one.infinite or ()) for one in values):
        return INFINITE
    bounds = [getattr(one, name) if getattr(one, name) is not None else one.intervals.get(name, (None, None))[0] for one in values]
    lower = Estimate.over(bounds, lambda bound: bound)
    return f"≥ {shown(lower.mean)}" if lower else NONE


def with_interval(values: Distribution, name: str, shown: Callable[[float | None], str]) -> str:
    """A percentile with its 95 % interval, as 1,497 (1,450 … 1,560); its lower bound alone if it has no value."""
    text = statistic(values, name, shown)
    if getattr(values, name) is None:
        return text
    lower, upper = values.intervals[name]
    return f"{text} ({shown(lower)} … {INFINITE if upper is None else shown(upper)})"


UNSTEADY = "†"
"""The sign behind the name of a stage that did not keep its level."""


def marked(name: str, unsteady: bool) -> str:
    return f"{name} {UNSTEADY}" if unsteady else name


def utc(iso: str) -> str:
    """An ISO date of UTC with seconds."""
    return f"{iso[:19].replace('T', ' ')} UTC"


def figure(name: str, value: float | str) -> str:
    """A figure of a Finding or Reason, formatted by the unit in its name."""
    if isinstance(value, str):
        return value
    if name.endswith("_ns"):
        return f"{ms(value)} ms"
    if name.endswith("_bytes"):
        return size(value)
    if name == "gain_ratio":
        return ("+" if value > 0 else "") + percent(value)
    if name.endswith("_ratio"):
        return percent(value)
    if name.endswith("_factor"):
        return times(value)
    if name.endswith("_per_s"):
        return number(value)
    if name.endswith("_s"):
        return seconds(value)
    return whole(value) if float(value).is_integer() else number(value)


def figures(values: Mapping[str, float | str]) -> dict[str, str]:
    return {name: figure(name, value) for name, value in values.items()}
