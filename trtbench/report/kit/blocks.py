"""The blocks of a report before they become Markdown or HTML. All text is plain; each renderer escapes it in its own way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Paragraph:
    text: str
    strong: bool = False
    kind: Literal["paragraph"] = "paragraph"


@dataclass(frozen=True)
class Bullets:
    items: tuple[str, ...]
    kind: Literal["bullets"] = "bullets"


@dataclass(frozen=True)
class Table:
    """A table. `numeric` aligns all columns except the first `labels` to the right. A folded table shows only its caption until it is
    opened (HTML).
    """

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str = ""
    note: str = ""
    labels: int = 1
    numeric: bool = True
    folded: bool = False
    kind: Literal["table"] = "table"


@dataclass(frozen=True)
class Figure:
    """A figure of the report. `name` is that of a drawing in plots.py."""

    name: str
    caption: str
    kind: Literal["figure"] = "figure"


@dataclass(frozen=True)
class Card:
    """A finding in words. `where` names deployment and stage, `evidence` its figures."""

    severity: str
    severity_label: str
    title: str
    where: str
    lines: tuple[tuple[str, str], ...]
    kind: Literal["card"] = "card"


@dataclass(frozen=True)
class Code:
    text: str
    kind: Literal["code"] = "code"


def pairs(rows: Sequence[tuple[str, str]]) -> Table:
    """A table of names and values without a header."""
    return Table(("", ""), tuple(rows), numeric=False)


Block = Paragraph | Bullets | Table | Figure | Card | Code


@dataclass(frozen=True)
class Section:
    title: str
    blocks: tuple[Block, ...]
    folded: bool = False


@dataclass(frozen=True)
class Document:
    language: str
    title: str
    subtitle: str
    status: str
    verdict: str
    reasons: tuple[str, ...]
    sections: tuple[Section, ...]
    foot: str = ""
    incomplete: str = ""
