"""Lengths measured elsewhere, in a CSV or JSON-lines file."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field

from trtbench.scenario.part import Part


class LengthsFile(Part):
    """Read once; the effective scenario holds the values and how often each occurs."""

    file: Path = Field(description="JSON lines where it ends in .jsonl, else CSV.")
    key: str | None = Field(None, description="Key of the JSON lines, or column of a CSV with a header; default: the only one.")


def count_lengths(spec: LengthsFile) -> dict[str, list[Any]]:
    """{values, weights} of a file. ValueError, with file and line, where a line holds no length."""
    rows = _json_rows(spec.file) if spec.file.suffix == ".jsonl" else _csv_rows(spec.file)
    try:
        counts = Counter(_length(row, spec.key, f"{spec.file}:{line}") for line, row in rows)
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"file {spec.file} cannot be read ({error}): give a CSV or .jsonl file of lengths") from error
    if not counts:
        raise ValueError(f"file {spec.file} holds no lengths: give one a line")
    return {"values": sorted(counts), "weights": [counts[value] for value in sorted(counts)]}


def _json_rows(path: Path) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if line.strip():
                try:
                    yield number, json.loads(line)
                except json.JSONDecodeError as error:
                    raise ValueError(f"{path}:{number}: not JSON ({error}); write one number or object a line") from error


def _csv_rows(path: Path) -> Iterator[tuple[int, Any]]:
    """Cells by the header's names; of a file without one, by their position."""
    with path.open(encoding="utf-8-sig", newline="") as lines:
        reader = csv.reader(lines)
        names: list[str] | None = None
        for row in reader:
            if names is None:
                names = [name.strip() for name in row]
                if not any(name.isdigit() for name in names):
                    continue
                names = [str(position) for position in range(len(row))]
            if row:
                yield reader.line_num, dict(zip(names, row, strict=False))


def _length(row: Any, key: str | None, where: str) -> int:
    if isinstance(row, dict):
        if key is None and len(row) != 1:
            raise ValueError(f"{where}: several columns ({', '.join(row)}): say which with key")
        if key is not None and key not in row:
            raise ValueError(f"{where}: no {key!r} there, only {', '.join(row)}: correct key")
        row = row[key] if key is not None else next(iter(row.values()))
    try:
        length = int(row)
    except (TypeError, ValueError):
        raise ValueError(f"{where}: {row!r} is no whole number of tokens") from None
    if length < 1 or length != float(row):
        raise ValueError(f"{where}: {row!r} is no length: whole numbers from 1 up")
    return length
