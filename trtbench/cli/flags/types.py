"""What click reads the values of our flags as: numbers and paths whose faults are found before a command begins.

Bounds that a scenario has too stand in its fields; those here are of flags that are no key of one.
"""

from __future__ import annotations

import errno
import math
from pathlib import Path
from typing import Any

import click

from trtbench.cli.flags.foreign_values import DURATION, duration
from trtbench.cli.flags.numbers import REAL, WHOLE

INT32_MAX = 2**31 - 1
_SHOWN = 60
_NAME_BYTES = 240
"""Of one name in a path: file systems take 255, and suffixes are added to some."""


class _Bounded(click.ParamType):  # type: ignore[type-arg]
    def __init__(self, least: float | None = None, most: float | None = None) -> None:
        self._least, self._most = least, most

    def _within(self, number: float, text: str, param: click.Parameter | None, ctx: click.Context | None) -> None:
        if self._least is not None and number < self._least:
            self.fail(f"{text} is below {self._least:g}, the lower bound.", param, ctx)
        if self._most is not None and number > self._most:
            self.fail(f"{text} is above {self._most}, the upper bound.", param, ctx)


class Whole(_Bounded):
    """A whole number in decimal digits."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            return value
        if not WHOLE.fullmatch(value):
            self.fail(f"{value[:_SHOWN]!r} is not a whole number of at most 18 digits.", param, ctx)
        self._within(int(value), value, param, ctx)
        return int(value)


class Real(_Bounded):
    """A finite number, as 2, 0.5 or 1e3."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, (int, float)):
            return float(value)
        if not REAL.fullmatch(value) or not math.isfinite(float(value)):
            self.fail(f"{value[:_SHOWN]!r} is not a finite number.", param, ctx)
        self._within(float(value), value, param, ctx)
        return float(value)


class Seconds(Real):
    """Seconds, as a number or with units: 30, 30s, 1m30s."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        in_units = isinstance(value, str) and DURATION.fullmatch(value)
        return super().convert(duration("", value) if in_units else value, param, ctx)


class Text(click.ParamType):  # type: ignore[type-arg]
    """Words that are not empty and have no control characters."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value.strip():
            self.fail("it is empty; give a value, or leave the flag out.", param, ctx)
        if any(ord(character) < 32 for character in value):
            self.fail("it has control characters.", param, ctx)
        return str(value)


class Place(click.ParamType):  # type: ignore[type-arg]
    """A path that the system can look up, whether or not something lies there."""

    name = "path"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        if isinstance(value, Path):
            return value
        if not value:
            self.fail("the path is empty; give a path, or leave the flag out.", param, ctx)
        if "\0" in value:
            self.fail("the path has a NUL character.", param, ctx)
        longest = max(len(name.encode("utf-8", "replace")) for name in value.split("/"))
        if longest > _NAME_BYTES:
            self.fail(f"{value[:_SHOWN]!r}... has a name of {longest} bytes; at most {_NAME_BYTES} are possible.", param, ctx)
        try:
            Path(value).stat()
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                self.fail(f"{value[:_SHOWN]!r} cannot be looked up ({error.strerror}).", param, ctx)
        except ValueError as error:
            self.fail(f"{value[:_SHOWN]!r} is not a path ({error}).", param, ctx)
        return Path(value)


class PlaceName(Place):
    """A path, or a name that stands for one, as it was typed."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return str(value) if super().convert(value, param, ctx) else value
