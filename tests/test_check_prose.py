"""scripts/check_prose.py: what it takes for prose, and that no prose has a banned word."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("check_prose", ROOT / "scripts" / "check_prose.py")
assert SPEC and SPEC.loader
check_prose = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(check_prose)

SOURCE = """
calm = {"calm": 1}  # a calm one
def calm_of(told: str) -> str:
    \"\"\"What it was told.\"\"\"
    return f"it stands {told}" + "calm" + "`calm` or not"
"""


def words(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    return sorted((line, found.group()) for line, text in lines for pattern, _ in check_prose.banned() for found in pattern.finditer(text))


def test_comments_docstrings_and_messages_are_prose_and_names_are_not() -> None:
    assert words(list(check_prose.code_prose(SOURCE))) == [(2, "calm"), (4, "told"), (5, "stands")]


def test_code_of_a_document_is_no_prose_and_lines_keep_their_numbers() -> None:
    page = "One `calm` word.\n\n```sh\ntold\n```\n\nThe calm before.\n"
    assert words(list(check_prose.document_prose(page))) == [(7, "calm")]


@pytest.mark.parametrize("text", ["there is no GPU", "a stand-in", "what is no longer there", "understands", "is not a number"])
def test_plain_words_are_allowed(text: str) -> None:
    assert words([(1, text)]) == []


def test_every_banned_word_has_its_replacement_and_nothing_has_one() -> None:
    assert all(instead for _, instead in check_prose.banned())
    assert check_prose.uses() == []
