"""LeftOut: how an input file was read, and its rows that are not sent, with their number, the reasons and the places of the first ones."""

from __future__ import annotations

from dataclasses import dataclass, field

from trtbench.rundir.event_kinds import InputFile, LeftOutRows

MOST_PLACES = 5
"""The number of places that are kept for each reason."""


@dataclass
class LeftOut:
    """`rows` is the number of all rows of the file, including those that are left out; `formats` are those that they were read in."""

    path: str
    rows: int = 0
    reasons: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    formats: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def read_as(self, name: str, notes: tuple[str, ...]) -> None:
        """Note the format of a row, and what has to be known of that format."""
        self.formats.setdefault(name, notes)

    def add(self, reason: str, where: str) -> None:
        self.counts[reason] = self.counts.get(reason, 0) + 1
        places = self.reasons.setdefault(reason, [])
        if len(places) < MOST_PLACES:
            places.append(where)

    def add_many(self, reason: str, rows: int) -> None:
        """Add rows whose places are not kept."""
        self.counts[reason] = self.counts.get(reason, 0) + rows

    @property
    def count(self) -> int:
        return sum(self.counts.values())

    @property
    def facts(self) -> InputFile:
        reasons = [LeftOutRows(reason, count, tuple(self.reasons.get(reason, ()))) for reason, count in self.counts.items()]
        return InputFile(path=self.path, rows=self.rows, left_out=self.count, reasons=reasons, formats=tuple(self.formats))

    @property
    def reading(self) -> str:
        """A line about the format, its units and what it lacks; empty for a file without rows."""
        parts = [f"format {name}{''.join(f'; {note}' for note in notes)}" for name, notes in self.formats.items()]
        return f"{self.path}: {'; '.join(parts)}" if parts else ""

    @property
    def text(self) -> str:
        """A line about the rows that are left out; empty if every row is used."""
        if not self.count:
            return ""
        reasons = "; ".join(f"{count}: {reason}{self._first(reason)}" for reason, count in self.counts.items())
        return f"{self.path}: {self.count} of {self.rows} rows were left out: {reasons}"

    def _first(self, reason: str) -> str:
        places = self.reasons.get(reason)
        return f" (first: {places[0]})" if places else ""
