"""Lengths measured elsewhere, in a CSV or JSON-lines file."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from trtbench.scenario.parts.bounds import MOST_TOKENS
from trtbench.scenario.parts.part import Part
from trtbench.system.input_file import InputFileError, Row, read_rows, shown
from trtbench.system.table_file import read_cells


class LengthsFile(Part):
    """Lengths from a file, which is read once; the effective scenario holds the values and how often each occurs."""

    file: Path = Field(description="JSON lines where it ends in .jsonl, else CSV.")
    key: str | None = Field(None, description="Key of the JSON lines, or column of a CSV with a header; default: the only one.")


def count_lengths(spec: LengthsFile) -> dict[str, Any]:
    """{values, weights, left_out} of a file. ValueError, with file and line, if a line has no length; zeros are left out."""
    try:
        rows = read_rows(spec.file) if spec.file.suffix == ".jsonl" else _csv_rows(spec.file)
        counts = Counter(_length(row, spec.key, where) for where, row in rows)
    except InputFileError as error:
        raise ValueError(f"file {error}") from error
    empty = counts.pop(0, 0)
    if not counts:
        raise ValueError(f"file {spec.file} holds no lengths: give one a line")
    return {"values": sorted(counts), "weights": [counts[value] for value in sorted(counts)], "left_out": empty}


def _csv_rows(path: Path) -> Iterator[Row]:
    """Cells by the names in the header; without a header, by their position."""
    names: list[str] | None = None
    for where, row in read_cells(path):
        if names is None:
            names = [name.strip() for name in row]
            if not any(name.isdigit() for name in names):
                continue
            names = [str(position) for position in range(len(row))]
        yield Row(where, dict(zip(names, row, strict=False)))


def _length(row: Any, key: str | None, where: str) -> int:
    if isinstance(row, dict):
        if key is None and len(row) != 1:
            raise ValueError(f"{where}: several columns ({', '.join(row)}): say which with key")
        if key is not None and key not in row:
            raise ValueError(f"{where}: no {key!r} there, only {', '.join(row)}: correct key")
        row = row[key] if key is not None else next(iter(row.values()))
    try:
        length = int(row)
        whole = length == float(row)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{where}: {shown(row)} is not a whole number of tokens") from None
    if isinstance(row, bool) or not whole or not 0 <= length <= MOST_TOKENS:
        raise ValueError(f"{where}: {shown(row)} is not a length: whole numbers from 1 to {MOST_TOKENS:,}")
    return length
