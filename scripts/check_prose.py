"""Finds the words of prose/banned_words.txt in documents, report texts, docstrings, comments and messages.

`python scripts/check_prose.py` shows each with its replacement, and fails if there is one.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
BANNED = ROOT / "scripts" / "prose" / "banned_words.txt"
DOCUMENTS = ("README*.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "examples/*.md")
TEXTS = ("trtbench/report/texts/en.yaml", "trtbench/report/texts/embed.en.yaml")
CODE = "trtbench/**/*.py"
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`[^`\n]*`")


class Use(NamedTuple):
    path: str
    line: int
    words: str
    instead: str


def banned() -> list[tuple[re.Pattern[str], str]]:
    """Each banned expression with what to write instead."""
    lines = (line for line in BANNED.read_text("utf-8").splitlines() if line and not line.startswith("#"))
    pairs = (re.split(r" {2,}", line, maxsplit=1) for line in lines)
    return [(re.compile(rf"\b(?:{words})\b", re.IGNORECASE), instead) for words, instead in pairs]


def blanked(found: re.Match[str]) -> str:
    """As many lines, without their text."""
    return "\n" * found.group().count("\n")


def document_prose(text: str) -> Iterator[tuple[int, str]]:
    """Lines of a Markdown document with their numbers, without code."""
    yield from enumerate(INLINE_CODE.sub("", FENCED.sub(blanked, text)).splitlines(), 1)


def text_prose(text: str) -> Iterator[tuple[int, str]]:
    """Lines of a YAML file without keys and comments."""
    for number, line in enumerate(text.splitlines(), 1):
        yield number, re.sub(r"^\s*[\w.]+:(\s|$)|^\s*#.*", "", line)


def code_prose(source: str) -> Iterator[tuple[int, str]]:
    """Comments, docstrings and messages of a Python file: string literals with a space in them."""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, INLINE_CODE.sub("", node.value)


def sources() -> Iterator[tuple[Path, Iterator[tuple[int, str]]]]:
    """Each file with its prose."""
    for pattern in DOCUMENTS:
        for path in sorted(ROOT.glob(pattern)):
            yield path, document_prose(path.read_text("utf-8"))
    for name in TEXTS:
        yield ROOT / name, text_prose((ROOT / name).read_text("utf-8"))
    for path in sorted(ROOT.glob(CODE)):
        yield path, code_prose(path.read_text("utf-8"))


def uses() -> list[Use]:
    words = banned()
    return [
        Use(str(path.relative_to(ROOT)), line, found.group(), instead)
        for path, prose in sources()
        for line, text in prose
        for pattern, instead in words
        for found in pattern.finditer(text)
    ]


def main() -> int:
    found = uses()
    for use in found:
        print(f"{use.path}:{use.line}: {use.words!r}; write: {use.instead}")
    return 1 if found else 0


if __name__ == "__main__":
    raise SystemExit(main())
