"""Text that others wrote (servers, models, files, logs), made fit to be shown: control characters escaped, long text cut.

Names and messages are quoted with `shown` where a sentence is made of them. `harmless` is for the places where text leaves the program
(console, log lines, reports): it keeps line breaks, because sentences of our own have them. JSON files keep the raw text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

NAME_CHARACTERS = 200
MESSAGE_CHARACTERS = 500
WORD_CHARACTERS = 1_000
"""Longest run without a blank that a place of output lets through; sentences of Chinese text stay below it."""
LISTED_NAMES = 10

_ESCAPED_CATEGORIES = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs", "Co"})  # controls, formats (bidi, zero width), separators, surrogates
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # drawn as nothing, though they are no format characters
_SUSPECT = re.compile(r"[^\x20-\x7e\n]")
_LONG_WORD = re.compile(rf"\S{{{WORD_CHARACTERS + 1},}}")


def harmless(text: str) -> str:
    """`text` with its line breaks, but no other character that steers a terminal or is not seen, and no endless word."""
    return _LONG_WORD.sub(lambda word: cut(word[0], WORD_CHARACTERS), _SUSPECT.sub(_escape, text))


def shown(text: str, most: int = NAME_CHARACTERS) -> str:
    """A name or a message of another program in one line of at most about `most` characters."""
    return cut(_SUSPECT.sub(_escape, " ".join(text[: 4 * most].split())), most, len(text))


def cut(text: str, most: int, length: int | None = None) -> str:
    """The first `most` characters, and how many there are in all (`length`, where `text` itself has been cut before)."""
    length = len(text) if length is None else max(length, len(text))
    return text if len(text) <= most and length <= 4 * most else f"{text[:most]}... ({length:,} characters)"


def names(found: Iterable[str]) -> str:
    """A list of names for a sentence: the first few, and how many more there are; "none" for an empty list."""
    every = sorted(found)
    listed = ", ".join(shown(name, 80) for name in every[:LISTED_NAMES])
    more = f" and {len(every) - LISTED_NAMES:,} more" if len(every) > LISTED_NAMES else ""
    return f"{listed}{more}" or "none"


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character not in _BLANK_LETTERS and unicodedata.category(character) not in _ESCAPED_CATEGORIES:
        return character
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
