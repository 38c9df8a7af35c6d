"""The texts of a report in English or Chinese, from texts/*.yaml. A task may replace some of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from trtbench.analysis.verdict.verdict import Doubt
from trtbench.report.kit.format import figures
from trtbench.scenario.parts.choices import Language
from trtbench.tasks.generate import GENERATE
from trtbench.tasks.registry import TASKS
from trtbench.tasks.task import TaskName

_MOST_PLACES = 3
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast: 0.1 s less for each report
LANGUAGES: tuple[Language, ...] = ("en", "zh")


@cache
def texts_of(language: Language) -> dict[str, str]:
    """Every text by its dotted key."""
    return _read(f"{language}.yaml")


@cache
def texts_of_task(language: Language, task: TaskName) -> dict[str, str]:
    """Texts that replace those of `texts_of`."""
    texts: dict[str, str] = {}
    for name in TASKS[task].texts_files:
        texts |= _read(f"{name}.{language}.yaml")
    return texts


def _read(name: str) -> dict[str, str]:
    path = Path(__file__).parents[1] / "texts" / name
    return dict(_flat("", yaml.load(path.read_text(encoding="utf-8"), Loader=_LOADER)))  # noqa: S506 - a safe one


def _flat(prefix: str, tree: Any) -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", value


class Words:
    """Looks texts up by key. A missing key or figure is a KeyError, so that no place of a report stays empty."""

    def __init__(self, language: Language, task: TaskName = GENERATE.name) -> None:
        self.language, self.task = language, TASKS[task]
        self._texts = texts_of(language) | texts_of_task(language, task)

    def __call__(self, key: str, /, **values: float | str) -> str:
        """The text, with `{name}` replaced by the figure of that name in the unit its name ends in."""
        return self._texts[key].format_map(figures(values))

    def finding(self, code: str, part: str, values: Mapping[str, float | str]) -> str:
        """`part` is title, seen, cause, remedy or prove. Codes with a common first word, as all classes of errors have, may share a text.

        A finding with a `unit` may have a text of its own for it, as in seen_requests. `value_of` in the texts says where the words are
        for figures whose values are keys.
        """
        own, shared = f"finding.{code}.{part}", self._shared(code, part)
        of_unit = f"{own}_{values.get('unit', '')}"
        key = next((known for known in (of_unit, own) if known in self._texts), shared)
        named = {name: self._value(name, value) for name, value in values.items()}
        return self(key, **{"class": code.removeprefix("errors_"), **named})

    def has_finding(self, code: str, part: str) -> bool:
        """Whether `finding` has a text for this part; findings of an experiment need none that proves them."""
        return f"finding.{code}.{part}" in self._texts or self._shared(code, part) in self._texts

    def _shared(self, code: str, part: str) -> str:
        return f"finding.{code.split('_')[0]}.{part}"

    def _value(self, name: str, value: float | str) -> float | str:
        prefix = self._texts.get(f"value_of.{name}")
        return value if prefix is None else self._texts.get(f"{prefix}{value}", value)

    def doubted(self, title: str, doubts: Sequence[Doubt]) -> str:
        """`title`; if there are doubts about stages that it is based on, as possible, with the first of them and every reason."""
        if not doubts:
            return title
        places = list(dict.fromkeys(f"{doubt.deployment} {doubt.stage}" for doubt in doubts))
        shown = places if len(places) <= _MOST_PLACES else [*places[:_MOST_PLACES], "…"]
        why = dict.fromkeys(self(f"doubt.{doubt.code}") for doubt in doubts)
        return self("finding.doubted", title=title, places=self.listed(shown), why=self.listed(list(why)))

    def keys(self, group: str) -> list[str]:
        """The keys under `group`, in the order of the texts."""
        return [key.removeprefix(f"{group}.") for key in self._texts if key.startswith(f"{group}.")]

    def header(self, *columns: str) -> tuple[str, ...]:
        return tuple(self(f"col.{column}") for column in columns)

    def listed(self, items: Sequence[str]) -> str:
        return self._texts["list.separator"].join(items)
