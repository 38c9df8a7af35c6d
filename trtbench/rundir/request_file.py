"""requests.parquet, read a row group at a time and only the columns that are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from trtbench.rundir.losses import Losses
from trtbench.rundir.schema import NEEDED, REQUEST_SCHEMA
from trtbench.rundir.sealing import lost_when_sealed, write_requests

DAMAGED = (pa.ArrowException, OSError, ValueError, KeyError, IndexError)
"""What reading a damaged Parquet file raises."""


class RequestFile:
    """The requests of one deployment on disk. `path` names it in what is said of it; a file without rows where it cannot be read."""

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
        """Of JSON rows that are not sealed yet: they go through a temporary file, as sealing them would."""
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
        """(The first row, the columns) of each group that can be read, or of those wanted. A column that the file lacks is null."""
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
        """That so many requests contradict themselves, or lack what each must have."""
        self._losses.note(self.path, "rows", count + self._unreadable, "lists of tokens that do not fit together, or no outcome or instant")

    def _read(self, group: int, names: Sequence[str]) -> pa.Table:
        """The last one is kept: who asks for one part of it often asks for the next."""
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
        if rejected:
            self._losses.note(self.path, "rows", rejected, self._why)
        if changed:
            self._losses.note(self.path, "values", changed)


def _opened(file: Path | IO[bytes]) -> pq.ParquetFile:
    opened = pq.ParquetFile(file, page_checksum_verification=True)
    if missing := set(NEEDED) - set(opened.schema_arrow.names):
        raise ValueError(f"no column {', '.join(sorted(missing))}")
    return opened


def _column(table: pa.Table, field: pa.Field) -> pa.Array:
    if field.name not in table.column_names:
        return pa.nulls(table.num_rows, field.type)
    column = one_chunk(table[field.name])
    return column if column.type == field.type else column.cast(field.type)


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    return (
        column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    )
