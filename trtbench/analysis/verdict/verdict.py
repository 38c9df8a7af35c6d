"""Verdict: how far a run may be trusted, with the reasons and their figures.

A reason of level `note` leaves a run VALID: something is not shown, but nothing shown is doubtful.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

Grade = Literal["note", "suspect", "invalid"]
_ORDER: tuple[Grade, ...] = ("note", "suspect", "invalid")
Status = Literal["VALID", "SUSPECT", "INVALID"]
Place = tuple[str, str]
"""A deployment and one of its stages, by name."""
_STATUS: dict[Grade, Status] = {"note": "VALID", "suspect": "SUSPECT", "invalid": "INVALID"}


@dataclass(frozen=True, slots=True)
class Reason:
    """`figures` are what the text in report/ may name; units are in their names. `stages`: the several that it is about."""

    code: str
    grade: Grade
    deployment: str = ""
    stage: str = ""
    figures: Mapping[str, float | str] = field(default_factory=dict)
    stages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The worst reason's grade, worst first."""

    status: Status
    reasons: tuple[Reason, ...]


def verdict(reasons: Iterable[Reason]) -> Verdict:
    ordered = sorted(reasons, key=lambda reason: -_ORDER.index(reason.grade))
    return Verdict(_STATUS[ordered[0].grade if ordered else "note"], tuple(ordered))
