"""Counts the words of prose/banned_words.txt in documents, report texts, docstrings, comments and messages.

`python scripts/check_prose.py` fails where a place has more of them than prose/remaining.json allows, and shows them; a place that is not
listed there may have none. `--write` lowers the numbers of that file to what is left, and never raises one. `--show PLACE` lists what is
left in a place.
"""

from __future__ import annotations

import argparse
import ast
import io
import json
import re
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
BANNED = ROOT / "scripts" / "prose" / "banned_words.txt"
REMAINING = ROOT / "scripts" / "prose" / "remaining.json"
DOCUMENTS = ("README*.md", "CONTRIBUTING.md", "SECURITY.md", "docs/*.md", "examples/*.md")
TEXTS = ("trtbench/report/texts/en.yaml", "trtbench/report/texts/embed.en.yaml")
CODE = "trtbench/**/*.py"
FENCED = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`[^`\n]*`")


class Use(NamedTuple):
    place: str
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


def sources() -> Iterator[tuple[str, Path, Iterator[tuple[int, str]]]]:
    """The place that each file is counted in, the file and its prose."""
    for pattern in DOCUMENTS:
        for path in sorted(ROOT.glob(pattern)):
            yield path.name if path.parent == ROOT else path.parent.name, path, document_prose(path.read_text("utf-8"))
    for name in TEXTS:
        yield name, ROOT / name, text_prose((ROOT / name).read_text("utf-8"))
    for path in sorted(ROOT.glob(CODE)):
        yield "/".join(path.relative_to(ROOT).parts[:2]), path, code_prose(path.read_text("utf-8"))


def uses() -> list[Use]:
    words = banned()
    return [
        Use(place, str(path.relative_to(ROOT)), line, found.group(), instead)
        for place, path, prose in sources()
        for line, text in prose
        for pattern, instead in words
        for found in pattern.finditer(text)
    ]


def show(found: list[Use]) -> None:
    for use in found:
        print(f"{use.path}:{use.line}: {use.words!r}; write: {use.instead}")


def lowered(allowed: dict[str, int], counted: Counter[str]) -> dict[str, int]:
    least = {place: min(most, counted[place]) for place, most in sorted(allowed.items())}
    return {place: count for place, count in least.items() if count}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="lower the numbers of prose/remaining.json to what is left")
    parser.add_argument("--show", metavar="PLACE", help="list what is left in a place")
    options = parser.parse_args()
    found = uses()
    counted = Counter(use.place for use in found)
    allowed: dict[str, int] = json.loads(REMAINING.read_text("utf-8"))
    if options.write:
        allowed = lowered(allowed, counted)
        REMAINING.write_text(json.dumps(allowed, indent=2) + "\n", "utf-8")
    if options.show:
        show([use for use in found if use.place == options.show])
    over = {place: count for place, count in counted.items() if count > allowed.get(place, 0)}
    for place, count in over.items():
        show([use for use in found if use.place == place])
        print(f"{place}: {count} banned words, {allowed.get(place, 0)} allowed", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    raise SystemExit(main())
