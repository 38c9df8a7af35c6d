"""The words of a report, in English or Chinese, from texts/*.yaml."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Literal

import yaml

from trtbench.report.format import figures

Language = Literal["en", "zh"]
_KINDS = ("errors", "scaling")
LANGUAGES: tuple[Language, ...] = ("en", "zh")


@cache
def texts_of(language: Language) -> dict[str, str]:
    """Every text under its dotted key."""
    path = Path(__file__).parent / "texts" / f"{language}.yaml"
    return dict(_flat("", yaml.safe_load(path.read_text(encoding="utf-8"))))


def _flat(prefix: str, tree: Any) -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value


class Words:
    """Looks texts up by key; KeyError for a key or a figure that is missing, never an empty place in a report."""

    def __init__(self, language: Language) -> None:
        self.language = language
        self._texts = texts_of(language)

    def __call__(self, key: str, **values: float | str) -> str:
        """The text, with `{name}` replaced by the figure of that name in the unit its name ends in."""
        return self._texts[key].format_map(figures(values))

    def finding(self, code: str, part: str, values: Mapping[str, float | str]) -> str:
        """`part` is title, seen, cause or remedy. All error classes share title and seen, and so do all bends of a scaling."""
        shared = part in ("title", "seen")
        subject = next((kind for kind in _KINDS if shared and code.startswith(f"{kind}_")), code)
        return self(f"finding.{subject}.{part}", **{"class": code.removeprefix("errors_"), **values})

    def listed(self, items: Sequence[str]) -> str:
        return self._texts["list.separator"].join(items)
