"""A list for each request, stored as one flat array and the position at which each list begins."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Ragged:
    """Lists of requests. The list of request i [n] is values[offsets[i]:offsets[i + 1]]."""

    values: npt.NDArray[Any]
    offsets: Ints

    @classmethod
    def of(cls, column: pa.ListArray) -> Ragged:
        """The lists of a column; a missing list becomes an empty one, a missing value 0."""
        lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)
        values = column.flatten()
        whole = pc.fill_null(values, 0) if values.null_count else values
        return cls(whole.to_numpy(zero_copy_only=False), np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]))

    @property
    def lengths(self) -> Ints:
        return np.diff(self.offsets)

    def rows(self) -> Ints:
        """The row of each value, which is the request that it belongs to."""
        return np.repeat(np.arange(len(self.offsets) - 1), self.lengths)

    def places(self) -> Ints:
        """The position of each value in its own list."""
        return np.arange(len(self.values)) - np.repeat(self.offsets[:-1], self.lengths)

    def select(self, kept: Mask) -> Ragged:
        """The lists of some requests [n]."""
        if kept.all():
            return self
        lengths = self.lengths
        return Ragged(self.values[np.repeat(kept, lengths)], np.concatenate([[0], np.cumsum(lengths[kept])]))

    def with_values(self, values: npt.NDArray[Any]) -> Ragged:
        return Ragged(values, self.offsets)

    def firsts(self, absent: int) -> Ints:
        """The first value of each list; `absent` for an empty one."""
        return self._ends(self.offsets[:-1], absent)

    def lasts(self, absent: int) -> Ints:
        return self._ends(self.offsets[1:] - 1, absent)

    def at(self, places: Ints, absent: int) -> Ints:
        """The value at a position [n] of each list; `absent` where a list is not so long."""
        found = np.full(len(places), absent, np.int64)
        within = places < self.lengths
        found[within] = self.values[self.offsets[:-1][within] + places[within]]
        return found

    def sums(self) -> Ints:
        """The sum of each list; 0 for an empty one."""
        running = np.concatenate([[0], np.cumsum(self.values, dtype=np.int64)])
        sums: Ints = running[self.offsets[1:]] - running[self.offsets[:-1]]
        return sums

    def most(self, absent: int) -> Ints:
        """The largest value of each list; `absent` for an empty one."""
        found = np.full(len(self.offsets) - 1, absent, np.int64)
        filled = self.lengths > 0
        if filled.any():
            found[filled] = np.maximum.reduceat(self.values, self.offsets[:-1][filled])
        return found

    def inner(self) -> Mask:
        """A mask of the pairs of neighbouring values [len(values) - 1] that are within one list."""
        kept = np.ones(max(len(self.values) - 1, 0), np.bool_)
        borders = self.offsets[1:-1]
        kept[borders[(borders > 0) & (borders < len(self.values))] - 1] = False
        return kept

    def gaps(self) -> Ragged:
        """Differences of neighbours within each list: one fewer than it has values."""
        lengths = np.maximum(self.lengths - 1, 0)
        return Ragged(np.diff(self.values)[self.inner()], np.concatenate([[0], np.cumsum(lengths)]))

    def _ends(self, positions: Ints, absent: int) -> Ints:
        found = np.full(len(positions), absent, np.int64)
        filled = self.lengths > 0
        found[filled] = self.values[positions[filled]]
        return found
