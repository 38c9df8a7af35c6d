"""Markdown of the generated pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NOTE = "<!-- Written by scripts/reference_docs.py. Do not edit: `make docs` writes it again. -->"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |".replace("|  |", "| |") for line in lines)


def code(text: object) -> str:
    return f"`{text}`"
