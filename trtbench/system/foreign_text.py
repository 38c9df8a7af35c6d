"""Text from outside trtbench (servers, models, files, logs), made safe to display: control characters are escaped, long text is cut.

`shown` quotes a name or a message inside a sentence. `harmless` is applied where text leaves the program (console, log lines, reports);
it keeps line breaks, because trtbench's own messages contain them. JSON files keep the raw text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

NAME_CHARACTERS = 200
WORD_CHARACTERS = 1_000
"""Longest run of characters without a blank that `harmless` leaves as it is. Sentences of Chinese, which have no blanks, are shorter."""
LISTED_NAMES = 10

_ESCAPED_CATEGORIES = frozenset({"Cc", "Cf", "Zl", "Zp", "Cs", "Co"})  # controls, formats (bidi, zero width), separators, surrogates
_BLANK_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # invisible, although not in a category of formats
_SUSPECT = re.compile(r"[^\x20-\x7e\n]")
_LONG_WORD = re.compile(rf"\S{{{WORD_CHARACTERS + 1},}}")


def harmless(text: str) -> str:
    """`text` with its line breaks, but without other control or invisible characters, and with overlong words cut."""
    return _LONG_WORD.sub(lambda word: cut(word[0], WORD_CHARACTERS), _SUSPECT.sub(_escape, text))


def shown(text: str, most: int = NAME_CHARACTERS) -> str:
    """A name or a message of another program as one line of about `most` characters or fewer."""
    return cut(_SUSPECT.sub(_escape, " ".join(text[: 4 * most].split())), most, len(text))


def cut(text: str, most: int, length: int | None = None) -> str:
    """The first `most` characters, and the number of all. `length` is that number where `text` has already been cut."""
    length = len(text) if length is None else max(length, len(text))
    return text if len(text) <= most and length <= 4 * most else f"{text[:most]}... ({length:,} characters)"


def names(found: Iterable[str]) -> str:
    """A list of names for a sentence: the first few and the number of the others, or "none" for an empty list."""
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
