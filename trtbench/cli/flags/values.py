"""Types of flag values: numbers, lists and paths, and checks of files that flags name. Errors are found before a command begins.

Values as other tools write them are converted. The bounds of keys of a scenario are in its fields; the bounds here are of flags
that are not keys of a scenario.
"""

from __future__ import annotations

import errno
import math
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from trtbench.errors import UserError
from trtbench.system.foreign_text import shown

MOST_LEVELS = 64
_NUMBER = re.compile(r"\d{1,9}(\.\d{1,9})?", re.ASCII)
_AMOUNT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)", re.ASCII)
DURATION = re.compile(rf"(?:{_AMOUNT.pattern}){{1,4}}", re.ASCII)
_SECONDS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600}


def duration(flag: str, text: str) -> str:
    """Seconds of `30`, `30s`, `500ms`, `2m`, `1m30s` or `1h`."""
    if _NUMBER.fullmatch(text):
        return f"{float(text):.10g}"
    if not DURATION.fullmatch(text):
        raise UserError(f"{flag} {text[:60]}: not a duration; write seconds, as 30, or 30s, 2m, 1h")
    return f"{sum(float(amount) * _SECONDS[unit] for amount, unit in _AMOUNT.findall(text)):.10g}"


def levels(flag: str, text: str) -> str:
    """`1,3,5,7` of perf_analyzer's START:END:STEP, `1:8:2`; END and STEP may be left out, the last level is at most END."""
    parts = text.split(":")
    if len(parts) > 3 or not all(_NUMBER.fullmatch(part) for part in parts):
        raise UserError(f"{flag} {text[:60]}: write START:END:STEP, as 1:8:2")
    start = float(parts[0])
    end = float(parts[1]) if len(parts) > 1 else start
    step = float(parts[2]) if len(parts) > 2 else 1.0
    if end == 0:
        raise UserError(
            f"{flag} {text}: an END of 0 searches without end; name the last level, as {start:g}:{max(start, 1) * 8:g}:{step:g}"
        )
    if end < start or step <= 0:
        raise UserError(f"{flag} {text}: END must be at least START and STEP above 0, as 1:8:2")
    count = int((end - start) / step + 1e-9) + 1
    if count > MOST_LEVELS:
        raise UserError(f"{flag} {text}: {count} levels, at most {MOST_LEVELS} are possible; raise STEP")
    return ",".join(f"{start + number * step:.10g}" for number in range(count))


READERS: dict[str, Callable[[str, str], str]] = {"duration": duration, "range": levels, "rates": levels}


WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
REAL = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,3})?", re.ASCII)


def whole_number(flag: str, text: str, typed: str | None = None) -> int:
    """`text`, a part of what was `typed` for the flag; UserError, with all of it, if it is not a whole number."""
    if not WHOLE.fullmatch(text.strip()):
        raise UserError(f"{flag} {shown(text if typed is None else typed)}: {_where(text, typed)}not a whole number")
    return int(text)


def whole_numbers(flag: str, text: str) -> list[int]:
    return [whole_number(flag, part, text) for part in _parts(flag, text)]


def numbers(flag: str, text: str) -> list[float]:
    return [_number(flag, part, text) for part in _parts(flag, text)]


def _number(flag: str, text: str, typed: str) -> float:
    if not REAL.fullmatch(text.strip()) or not math.isfinite(float(text)):
        raise UserError(f"{flag} {shown(typed)}: {_where(text, typed)}not a number")
    return float(text)


def _where(part: str, typed: str | None) -> str:
    """The faulty part of a value that has several parts, as the beginning of a message."""
    if typed is None or part == typed:
        return ""
    return f"{shown(part)} is " if part.strip() else "an empty part is "


def _parts(flag: str, text: str) -> list[str]:
    parts = text.split(",")
    if len(parts) > MOST_LEVELS:
        raise UserError(f"{flag}: {len(parts)} levels, a stage each; at most {MOST_LEVELS} are possible")
    return parts


INT32_MAX = 2**31 - 1
_SHOWN = 60
_NAME_BYTES = 240
"""The longest name in a path, in bytes: file systems take 255, and suffixes are added to some."""


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
    """A path, or a name that represents one, as it was typed."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return str(value) if super().convert(value, param, ctx) else value


_FILES = {"input_file": "--input-file", "tls_ca": "--tls-ca", "tls_cert": "--tls-cert", "tls_key": "--tls-key"}
_TOKENIZER = "tokenizer.json"


def check_files(flags: Mapping[str, Any]) -> None:
    """UserError naming the flag of `trtbench bench` whose file cannot be read or whose directory cannot be made."""
    for name, flag in _FILES.items():
        if flags[name] is not None:
            check_readable(flag, flags[name])
    if flags["tokenizer"] is not None:
        _check_tokenizer(flags["tokenizer"])
    check_can_hold("--artifact-dir", flags["artifact_dir"])


def check_readable(flag: str, path: Path) -> None:
    """UserError when `path` is not a file that can be opened."""
    if path.is_dir():
        raise UserError(f"{flag} {path}: is a directory; give a file")
    if path.is_char_device() or path.is_block_device():
        raise UserError(f"{flag} {path}: is a device; give a file")
    if path.is_fifo():
        return  # of a shell's <(...): opening it would take from it
    try:
        path.open("rb").close()
    except OSError as error:
        raise UserError(f"{flag} {path}: cannot be read ({error.strerror}); give a file that can") from None


def check_can_hold(flag: str, directory: Path) -> None:
    """UserError when `directory` cannot be made or written to, as far as that shows without making it."""
    absolute = directory.absolute()
    nearest = next(place for place in (absolute, *absolute.parents) if os.path.lexists(place))
    if not nearest.is_dir():
        raise UserError(f"{flag} {directory} cannot be written to ({nearest} is not a directory): choose another directory")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise UserError(f"{flag} {directory} cannot be written to (no permission for {nearest}): choose another directory")


def check_can_write(flag: str, path: Path) -> None:
    """UserError when a file cannot be written at `path`."""
    if path.is_dir():
        raise UserError(f"{flag} {path}: is a directory; give a file")
    if path.exists() and not os.access(path, os.W_OK):
        raise UserError(f"{flag} {path}: cannot be written to; choose another file")
    if not path.absolute().parent.is_dir():
        raise UserError(f"{flag} {path}: there is no directory {path.parent}; make it, or choose another file")
    check_can_hold(flag, path.absolute().parent)


def _check_tokenizer(directory: Path) -> None:
    if not directory.is_dir():
        raise UserError(
            f"--tokenizer {directory}: is not a directory; give one with {_TOKENIZER}, as a download of the model's checkpoint has"
        )
    if not (directory / _TOKENIZER).is_file():
        raise UserError(f"--tokenizer {directory}: {_TOKENIZER}: no such file; give a directory that has it, or leave the flag out")
