"""Conversion of JSON lines to Parquet, a bounded part of them at a time."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from trtbench.errors import naming
from trtbench.rundir.lines import Losses
from trtbench.rundir.schema import REQUEST_SCHEMA, SAMPLE_SCHEMA, request_table, sample_table

_ROWS_PER_BATCH = 1_000  # as Python objects at once
_ROWS_PER_GROUP = 20_000
_BYTES_PER_GROUP = 64 * 2**20
LOST_KEY = b"trtbench.lost"
"""The key of the file's metadata for [rows left out, rows with a changed value]."""

Tabled = Callable[[Sequence[Any]], tuple[pa.Table, int, int]]


def seal_requests(rows: Iterable[Any], path: Path, lost: Losses) -> None:
    """Write the rows as Parquet; the file is renamed into place when it is complete. A row that fits no column is left out and counted,
    and so are the lines that could not be read as rows (`lost`).
    """
    with _in_place(path) as temporary:
        write_requests(rows, temporary, lost)


def seal_samples(rows: Iterable[Any], path: Path, lost: Losses) -> None:
    with _in_place(path) as temporary:
        _write(rows, sample_table, GroupWriter(temporary, SAMPLE_SCHEMA), lost, "samples")


def write_requests(rows: Iterable[Any], file: Path | IO[bytes], lost: Losses) -> None:
    _write(rows, request_table, GroupWriter(file, REQUEST_SCHEMA), lost, "requests")


def lost_when_sealed(metadata: pq.FileMetaData) -> tuple[int, int]:
    """(Rows left out, rows with a changed value), as the writer of the file recorded them."""
    try:
        rejected, changed = json.loads((metadata.metadata or {}).get(LOST_KEY, b"[0, 0]"))
        return int(rejected), int(changed)
    except (ValueError, TypeError):
        return 0, 0


class GroupWriter:
    """Collects tables into row groups of at most 20,000 rows and about 64 MiB, so that a reader never holds more at once."""

    def __init__(self, file: Path | IO[bytes], schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(file, schema, write_page_checksum=True, **_encodings(schema))
        self._waiting: list[pa.Table] = []
        self._rows = self._bytes = 0

    def write(self, table: pa.Table) -> None:
        self._waiting.append(table)
        self._rows += table.num_rows
        self._bytes += table.nbytes
        if self._rows >= _ROWS_PER_GROUP or self._bytes >= _BYTES_PER_GROUP:
            self._flush()

    def close(self, rejected: int = 0, changed: int = 0) -> None:
        """Finish the file, and record in it how many rows were left out and how many had a value changed."""
        self._flush()
        if rejected or changed:
            self._writer.add_key_value_metadata({LOST_KEY.decode(): json.dumps([rejected, changed])})
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.concat_tables(self._waiting), row_group_size=self._rows)
        self._waiting, self._rows, self._bytes = [], 0, 0


def _write(rows: Iterable[Any], tabled: Tabled, writer: GroupWriter, lost: Losses, files: str) -> None:
    """Write the rows of JSON lines. `files`: the beginnings of the names of the files with these lines."""
    rejected = changed = 0
    try:
        for batch in _batches(rows):
            table, left_out, fitted = tabled(batch)
            writer.write(table)
            rejected, changed = rejected + left_out, changed + fitted
    finally:
        lines = sum(loss.count for loss in lost if loss.what in ("lines", "torn") and Path(loss.file).name.startswith(files))
        writer.close(rejected + lines, changed)


def _batches(rows: Iterable[Any]) -> Iterator[list[Any]]:
    coming = iter(rows)
    while batch := list(islice(coming, _ROWS_PER_BATCH)):
        yield batch


@contextmanager
def _in_place(path: Path) -> Iterator[Path]:
    """A temporary path for a file that must be complete or absent at `path`."""
    temporary = path.with_suffix(".tmp")
    try:
        with naming(path):
            yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _encodings(schema: pa.Schema) -> dict[str, object]:
    """Encodings by column: dictionaries for texts, which repeat, and differences for instants, which increase."""
    texts = [field.name for field in schema if pa.types.is_string(field.type) and field.name != "output_text"]
    rising = {"token_ns.list.element": "DELTA_BINARY_PACKED"} if "token_ns" in schema.names else {}
    return {"use_dictionary": texts, "column_encoding": rising}
