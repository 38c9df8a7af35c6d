"""READERS: every format of input files by its name, and the rows of a file with the reader of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from trtbench.plan.sources.left_out import LeftOut
from trtbench.plan.sources.prompt_formats import PROMPT_FORMATS
from trtbench.plan.sources.reader import Reader, RowError
from trtbench.plan.sources.trace_formats import TRACE_FORMATS
from trtbench.system.input_file import InputFileError, Row, read_rows
from trtbench.system.table_file import column_names, read_table

READERS: dict[str, Reader] = {reader.name: reader for reader in (*PROMPT_FORMATS, *TRACE_FORMATS)}


class ReadRow(NamedTuple):
    """One request of a file, its place, and the reader of its format."""

    where: str
    value: Any
    reader: Reader


def read_requests(path: Path, name: str | None, formats: Sequence[Reader], left_out: LeftOut) -> Iterator[ReadRow]:
    """The requests of a file in the format `name`, or each in the first of `formats` that recognises it; the last of them takes any row.

    Counts rows and formats in `left_out`. InputFileError if the file cannot be read.
    """
    chosen = None if name is None else READERS[name]
    for where, row in _rows(path, chosen, formats):
        reader = chosen or next(one for one in formats if one.recognises(row))
        for value in reader.requests_in(row):
            left_out.rows += 1
            left_out.read_as(reader.name, reader.notes)
            yield ReadRow(where, value, reader)


def used(row: ReadRow, make: Callable[[Any], Any] | None, left_out: LeftOut) -> Any:
    """What `make` gives for a row, or None for a row that is left out, which is counted with its reason."""
    assert make, "the reader has been chosen among those that can"
    try:
        return make(row.value)
    except RowError as error:
        left_out.add(str(error), row.where)
        return None


def check_use(name: str | None, formats: Sequence[Reader], use: str) -> None:
    """InputFileError if the format `name` is for another use, such as a trace where a dataset is asked."""
    if name is not None and READERS[name] not in formats:
        fitting = ", ".join(one.name for one in formats)
        raise InputFileError(f"format {name} is not that of a {use}: give one of {fitting}, or leave it out")


def _rows(path: Path, chosen: Reader | None, formats: Sequence[Reader]) -> Iterator[Row]:
    """The rows of a table whose columns are those of a format, else JSON."""
    tables = [reader for reader in READERS.values() if reader.columns and chosen in (None, reader)]
    columns = column_names(path) if tables else ()
    table = next((reader for reader in tables if set(reader.columns) <= set(columns)), None)
    if table is None:
        if chosen and chosen.columns:
            raise InputFileError(f"{path} has not the columns of format {chosen.name} ({', '.join(chosen.columns)}) in its first line")
        return read_rows(path)
    if table not in formats:
        raise InputFileError(f"{path} is a trace ({table.name}), which has no prompts: replay it with mode: trace")
    return read_table(path)
