"""Tables in text (CSV) that users provide, read line by line."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from trtbench.system.input_file import MOST_ROW_BYTES, InputFileError, Row, read_lines_of

_MOST_NAMES_BYTES = 64 << 10


class Cells(NamedTuple):
    """The cells of one line, and where it is."""

    where: str
    cells: list[str]


def read_cells(path: Path) -> Iterator[Cells]:
    """The cells of every line that is not blank. InputFileError if the file cannot be read, is not UTF-8 or not CSV."""
    last = [0]
    try:
        for row in csv.reader(_counted(path, last)):
            if row:
                yield Cells(f"{path}:{last[0]}", row)
    except csv.Error as error:
        raise InputFileError(f"{path}:{last[0]}: not CSV ({error}): correct the file, or download it again") from error


def read_table(path: Path) -> Iterator[Row]:
    """The lines after the first as objects of texts by the names of the columns; cells that a line lacks are missing."""
    lines = read_cells(path)
    names = [name.strip() for one in islice(lines, 1) for name in one.cells]
    for where, cells in lines:
        yield Row(where, dict(zip(names, map(str.strip, cells), strict=False)))


def column_names(path: Path) -> tuple[str, ...]:
    """The names in the first line if the file is a table in text, else none. Nothing is raised for a file that cannot be read."""
    try:
        with path.open("rb") as file:
            start = file.readline(_MOST_NAMES_BYTES)
        return tuple(name.strip() for row in csv.reader([start.decode("utf-8-sig")]) for name in row)
    except (OSError, UnicodeDecodeError, csv.Error):
        return ()


def _counted(path: Path, last: list[int]) -> Iterator[str]:
    """The lines of a file; `last` has the number of the one that was read last."""
    csv.field_size_limit(MOST_ROW_BYTES)
    for number, text in read_lines_of(path):
        last[0] = number
        yield text
