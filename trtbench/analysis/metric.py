"""The declaration of a figure of the report: its name, unit, formula, and the tables that contain it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

S = TypeVar("S")
Unit = Literal[
    "",
    "count",
    "ratio",
    "ms",
    "requests/s",
    "inferences/s",
    "tokens/s",
    "bytes",
    "bytes/token",
    "cores",
    "J",
    "J/token",
    "tokens/J",
    "W",
    "MHz",
    "°C",
]
"""The unit in which a figure is printed. Times are held in nanoseconds and printed in milliseconds; "" is a number without a unit."""


@dataclass(frozen=True)
class Column:
    """A column of `tables`. `name`: its key under `col` in the texts. `parts`: attributes of the metric's value, each of which is printed;
    empty if the value is a number or several numbers. `unit`: None if it is the metric's unit.
    """

    name: str
    tables: tuple[str, ...]
    parts: tuple[str, ...] = ()
    unit: Unit | None = None


@dataclass(frozen=True)
class Metric(Generic[S]):
    """A figure of one S: a stage, a GPU in a stage, or a group of requests.

    `name`: as printed in rows, in the appendix of formulas and in docs/metrics.md.

    `value`: a number, several numbers, an object whose attributes `columns` name, or None if it was not measured. The function is None for
    a metric that no table of stages contains.

    `formula`: key of its formula under `formula` in the texts, which metrics may share; "" if its column's label defines it completely.
    Texts under `elsewhere` with the same key say which tools use the name with another meaning.

    `row`: the tables that have a row of it, with its distribution; `has_row`: whether this S has one, None if every S has. `is_estimate`:
    whether its value is an estimate. `half_width`: half the width of the 95 % interval of its mean, in the unit of the value.
    """

    name: str
    unit: Unit = ""
    value: Callable[[S], Any] | None = None
    formula: str = ""
    columns: tuple[Column, ...] = ()
    row: tuple[str, ...] = ()
    has_row: Callable[[S], bool] | None = None
    is_estimate: Callable[[S], bool] | None = None
    half_width: Callable[[S], float | None] | None = None

    def column(self, name: str, *tables: str, of: str | tuple[str, ...] = (), unit: Unit | None = None) -> Metric[S]:
        """The same metric with one more column."""
        parts = (of,) if isinstance(of, str) else of
        return replace(self, columns=(*self.columns, Column(name, tables, parts, unit)))
