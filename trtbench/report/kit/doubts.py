"""A conclusion whose stages the verdict doubts says so in its own line."""

from __future__ import annotations

from collections.abc import Sequence

from trtbench.analysis.verdict.verdict import Doubt
from trtbench.report.kit.words import Words

_PLACES = 3


def doubted(title: str, doubts: Sequence[Doubt], words: Words) -> str:
    """`title` as it is where nothing is doubted; else with the first few places and every reason."""
    if not doubts:
        return title
    places = list(dict.fromkeys(f"{doubt.deployment} {doubt.stage}" for doubt in doubts))
    shown = places if len(places) <= _PLACES else [*places[:_PLACES], "…"]
    why = dict.fromkeys(words(f"doubt.{doubt.code}") for doubt in doubts)
    return words("finding.doubted", title=title, places=words.listed(shown), why=words.listed(list(why)))
