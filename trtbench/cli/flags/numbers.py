"""Numbers and lists of numbers in the text of a flag."""

from __future__ import annotations

import math
import re

from trtbench.errors import UserError
from trtbench.system.foreign_text import shown

WHOLE = re.compile(r"[+-]?\d{1,18}", re.ASCII)
REAL = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})([eE][+-]?\d{1,3})?", re.ASCII)
_MOST_LEVELS = 64


def whole_number(flag: str, text: str, typed: str | None = None) -> int:
    """`text`, a part of what was `typed` for the flag; UserError, with all of it, when it is no whole number."""
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
    """Which part of the value is meant, where it has several."""
    if typed is None or part == typed:
        return ""
    return f"{shown(part)} is " if part.strip() else "an empty part is "


def _parts(flag: str, text: str) -> list[str]:
    parts = text.split(",")
    if len(parts) > _MOST_LEVELS:
        raise UserError(f"{flag}: {len(parts)} levels, a stage each; at most {_MOST_LEVELS} are possible")
    return parts
