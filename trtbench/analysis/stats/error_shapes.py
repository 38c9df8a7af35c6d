"""The commonest of many error messages, where each may hold an id or a number of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_WORD = r"(?<![0-9a-z])(?!0x)(?=[a-z]*\d)[0-9a-z]{8,}"
_VALUE = re.compile(rf"({_UUID}|{_WORD}|(?=[a-f]*\d)[0-9a-f]{{6,}}|\d+)", re.IGNORECASE)
"""A UUID, a long word or a hexadecimal id with a digit in it, a number."""
_DIFFERS = "…"


@dataclass(slots=True)
class _Shape:
    """Messages that are equal but for their values: how many, the first one's values, the places at which another one differs."""

    count: int
    values: list[str]
    differing: set[int] = field(default_factory=set)


def commonest(messages: Iterable[tuple[str, int]]) -> str:
    """Of (message, how often): the one of the commonest shape, with "…" for values that differ within it; "" of none."""
    shapes: dict[tuple[str, ...], _Shape] = {}
    for message, count in messages:
        parts = _VALUE.split(message)
        literals, values = tuple(parts[::2]), parts[1::2]
        shape = shapes.setdefault(literals, _Shape(0, values))
        shape.count += count
        shape.differing.update(place for place, value in enumerate(values) if value != shape.values[place])
    if not shapes:
        return ""
    literals, shape = max(shapes.items(), key=lambda item: item[1].count)
    shown = [_DIFFERS if place in shape.differing else value for place, value in enumerate(shape.values)]
    return "".join(literal + value for literal, value in zip(literals, [*shown, ""], strict=True))
