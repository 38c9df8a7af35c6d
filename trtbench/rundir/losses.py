"""What of a run directory could not be read: noted where it is found, named by the report."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

What = Literal["missing", "unreadable", "lines", "torn", "rows", "values", "events", "columns", "foreign", "foreign_samples"]
"""missing, unreadable: a whole file. lines: lines of a JSON-lines file that are no JSON. torn: a last line without its end, as a kill
leaves it. rows: records that contradict themselves or lack what each must have. values: of rows that are kept, a number beyond 64 bits (the
nearest stands for it) or another type (left empty). events: events without the data of their kind.
columns: those that a file of requests has had since format 1. foreign, foreign_samples: requests
that were sent, and samples that were taken, while the deployment did not run."""

_WHY_CHARACTERS = 200


@dataclass(frozen=True, slots=True)
class Loss:
    """`file` is relative to the run directory; `why` is the reader's own words for the first of them."""

    file: str
    what: What
    count: int
    why: str


class Losses:
    """Of one run directory. A file that is read again says the same again, so the last count stands."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._found: dict[tuple[str, What], Loss] = {}

    def __iter__(self) -> Iterator[Loss]:
        return iter(sorted(self._found.values(), key=lambda loss: (loss.file, loss.what)))

    def note(self, path: Path, what: What, count: int = 1, why: object = "") -> None:
        file = str(path.relative_to(self._root)) if path.is_relative_to(self._root) else path.name
        self._found[file, what] = Loss(file, what, count, " ".join(str(why).split())[:_WHY_CHARACTERS])
