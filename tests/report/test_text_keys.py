"""Every text of the report is used: its key stands in report/ whole, or is made there of a prefix and a name that the code knows."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import trtbench
from trtbench.report.kit.words import texts_of

ROOT = Path(trtbench.__file__).parent
ROLES = ("report", "figure", "heat_report", "heat_figure", "cancel_report")
REPORT = (*(ROOT / "report").rglob("*.py"), *(path for role in ROLES for path in (ROOT / "experiments").glob(f"*/{role}.py")))
NAMING = (
    *REPORT,
    *(path for part in ("analysis", "compare", "scenario", "experiments", "tasks", "load") for path in (ROOT / part).rglob("*.py")),
    ROOT / "rundir" / "records.py",
)
"""Where what is put into a key is named: findings, reasons, classes, fields of results, keys of scenarios."""


def test_no_text_is_unused() -> None:
    assert [key for key in texts_of("en") if not is_used(key)] == []


def test_an_unused_text_is_found() -> None:
    for key in ("limit.never_said", "col.never_shown", "finding.never_found.seen", "formula.never", "section.never", "never.caption"):
        assert not is_used(key)


def is_used(key: str) -> bool:
    if key.startswith("finding."):
        key = key.removesuffix("_requests")  # `Words.finding`: where a figure's unit is that
    if key in constants(REPORT):
        return True
    made = (template.fullmatch(key) for template in templates(REPORT, r"[a-z_]+\."))
    return any(match and all(map(is_named, match.groups())) for match in made) or is_of_a_class(key)


def is_of_a_class(key: str) -> bool:
    """Whether it is a text that all findings of a class share, whose codes are made as `starved_{cause}`."""
    shared = re.fullmatch(r"finding\.([a-z]+)\.(title|seen|cause|remedy|prove)", key)
    return bool(shared) and any(template.pattern.startswith(f"{shared[1]}_(") for template in templates(NAMING, r"[a-z]\w*\Z"))


def is_named(name: str) -> bool:
    """As a constant, the name of a field, or made of such ones (`errors_{outcome}`)."""
    if name in constants(NAMING):
        return True
    made = (template.fullmatch(name) for template in templates(NAMING, r"[a-z]\w*\Z|\Z"))
    return any(match and all(part in constants(NAMING) for part in match.groups()) for match in made)


@cache
def constants(paths: tuple[Path, ...]) -> set[str]:
    texts = {node.value for node in nodes(paths) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return texts | {node.target.id for node in nodes(paths) if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)}


@cache
def templates(paths: tuple[Path, ...], begins: str) -> list[re.Pattern[str]]:
    """f-strings of identifiers, dots and places, with a word of their own, that begin so."""
    found = []
    for node in nodes(paths):
        if isinstance(node, ast.JoinedStr):
            texts = [str(part.value) if isinstance(part, ast.Constant) else None for part in node.values]
            told = "".join(text or "" for text in texts)
            if re.fullmatch(r"[\w.]*[a-z][\w.]*", told) and re.match(begins, texts[0] or ""):
                found.append(re.compile("".join(r"(\w+)" if text is None else re.escape(text) for text in texts)))
    return found


@cache
def nodes(paths: tuple[Path, ...]) -> list[ast.AST]:
    return [node for path in paths for node in walk(path)]


def walk(path: Path) -> Iterator[ast.AST]:
    return ast.walk(ast.parse(path.read_text(encoding="utf-8")))
