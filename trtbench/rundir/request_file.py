"""Reads requests.parquet one row group at a time, and only the requested columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from trtbench.rundir.lines import Losses, regular
from trtbench.rundir.schema import NEEDED, REQUEST_SCHEMA, SINCE_FORMAT_1
from trtbench.rundir.sealing import lost_when_sealed, write_requests

DAMAGED = (pa.ArrowException, OSError, ValueError, KeyError, IndexError)
"""The errors that reading a damaged Parquet file can raise."""


class RequestFile:
    """The requests of one deployment on disk. `path` names it in messages. A file that cannot be read has no rows."""

    def __init__(self, file: Path | IO[bytes], path: Path, losses: Losses, why: str = "left out when the run was sealed") -> None:
        self.path, self._losses, self._why = path, losses, why
        self._file: pq.ParquetFile | None = None
        self._unreadable = 0
        self._last: tuple[tuple[int, Sequence[str]], pa.Table] | None = None
        try:
            self._file = _opened(file)
        except DAMAGED as error:
            losses.note(path, "unreadable", 1, error)
            return
        self._note_lost()

    @classmethod
    def of_rows(cls, rows: Iterable[Any], path: Path, losses: Losses) -> RequestFile:
        """A request file made of JSON rows that are not sealed yet. They are converted as in sealing, into a temporary file."""
        temporary = TemporaryFile()  # noqa: SIM115 - it lives as long as its reader, and its name is gone already
        write_requests(rows, temporary, Losses(path.parent))
        temporary.seek(0)
        return cls(temporary, path, losses, "no request")

    @property
    def is_readable(self) -> bool:
        return self._file is not None

    @property
    def starts(self) -> list[int]:
        """The row at which each group begins, and the number of all rows."""
        metadata: Any = self._file.metadata if self._file else None
        starts = [0]
        for group in range(metadata.num_row_groups if metadata else 0):
            starts.append(starts[-1] + metadata.row_group(group).num_rows)
        return starts

    def groups(self, names: Sequence[str], wanted: Iterable[int] | None = None) -> Iterator[tuple[int, pa.Table]]:
        """(The first row, the columns) of each group that can be read, or of the wanted ones. A column that the file lacks is null."""
        starts = self.starts
        lost, why = 0, ""
        for group in range(len(starts) - 1) if wanted is None else wanted:
            try:
                table = self._read(group, names)
            except DAMAGED as error:
                lost, why = lost + starts[group + 1] - starts[group], str(error)
                continue
            yield starts[group], table
        if lost:
            self._unreadable = max(self._unreadable, lost)
            self._losses.note(self.path, "rows", self._unreadable, why)

    def note_broken(self, count: int) -> None:
        """Note that this number of requests contradict themselves or lack a required value."""
        self._losses.note(self.path, "rows", count + self._unreadable, "lists of tokens that do not fit together, or no outcome or instant")

    def _read(self, group: int, names: Sequence[str]) -> pa.Table:
        """Columns of a row group. The last one is cached, because several parts of it are often read in turn."""
        if self._last and self._last[0] == (group, names):
            return self._last[1]
        assert self._file
        present = set(self._file.schema_arrow.names)
        table = self._file.read_row_group(group, columns=[name for name in names if name in present])
        columns = [_column(table, REQUEST_SCHEMA.field(name)) for name in names]
        self._last = ((group, names), pa.table(columns, names=list(names)))
        return self._last[1]

    def _note_lost(self) -> None:
        assert self._file
        rejected, changed = lost_when_sealed(self._file.metadata)
        self._unreadable = rejected
        if missing := [name for name in SINCE_FORMAT_1 if name not in self._file.schema_arrow.names]:
            self._losses.note(self.path, "columns", len(missing), ", ".join(missing))
        if rejected:
            self._losses.note(self.path, "rows", rejected, self._why)
        if changed:
            self._losses.note(self.path, "values", changed)


def _opened(file: Path | IO[bytes]) -> pq.ParquetFile:
    opened = pq.ParquetFile(regular(file) if isinstance(file, Path) else file, page_checksum_verification=True)
    if missing := set(NEEDED) - set(opened.schema_arrow.names):
        raise ValueError(f"no column {', '.join(sorted(missing))}")
    return opened


def _column(table: pa.Table, field: pa.Field) -> pa.Array:
    if field.name not in table.column_names:
        return pa.nulls(table.num_rows, field.type)
    return fitting(table[field.name], field)


def fitting(column: pa.ChunkedArray, field: pa.Field) -> pa.Array:
    """The column in one chunk and in the field's type; ValueError for values of another kind, which trtbench does not write."""
    if column.type != field.type and _kind(column.type) not in (_kind(field.type), None):
        raise ValueError(f"column {field.name} is of type {column.type}, not {field.type}")
    return one_chunk(column).cast(field.type)


def _kind(of: pa.DataType) -> str | None:
    """The kind of a type's values; None for an unknown type."""
    if pa.types.is_dictionary(of):
        return _kind(of.value_type)
    kinds = {"number": (pa.types.is_integer, pa.types.is_floating), "text": (pa.types.is_string, pa.types.is_large_string)}
    named = [kind for kind, tests in kinds.items() if any(test(of) for test in tests)]
    return named[0] if named else None if pa.types.is_null(of) else str(of).partition("<")[0].removeprefix("large_")


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return (
        column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    )
