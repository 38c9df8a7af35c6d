"""The YAML of a scenario: one document of mappings, lists and plain values, bounded, without surprising conversions.

PyYAML's safe loader keeps the last of duplicate keys, reads `1:30` as 90 and `010` as 8, and expands aliases without end. Here each of
them is an error with its line and key. Aliases and merge keys (`<<`) work, up to an upper bound on their expansion.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import yaml

from trtbench.errors import UserError

MOST_BYTES = 8 << 20
MOST_CHARACTERS = 10_000
"""The most bytes of one text."""
MOST_DEPTH = 50
MOST_VALUES = 500_000
MOST_EXPANDED = 100_000
"""The most values to which the aliases of a document may expand."""
MOST_DIGITS = 100


@dataclass(frozen=True)
class YamlBounds:
    """Upper bounds of a document, and whether its quoted texts may have control characters."""

    bytes: int = MOST_BYTES
    characters: int = MOST_CHARACTERS
    values: int = MOST_VALUES
    digits: int = MOST_DIGITS
    unprintable: bool = False


OF_A_RUN_DIRECTORY = YamlBounds(64 * MOST_BYTES, 64 * MOST_BYTES, 64 * MOST_VALUES, 40 * MOST_DIGITS, unprintable=True)
"""The bounds of documents that trtbench wrote itself before bounds existed."""

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULL = {"", "~", "null", "Null", "NULL"}
_BOOLEANS = {word: value for value, words in {True: ("true", "yes", "on"), False: ("false", "no", "off")}.items() for word in words}
_NO_KEY = "a mapping or a list cannot be a key: write a name"
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_FLOAT = re.compile(r"[-+]?([0-9][0-9_]*(\.[0-9_]*)?|\.[0-9][0-9_]*)([eE][-+]?[0-9]+)?")
_SPECIAL_FLOAT = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_ODD_NUMBER = re.compile(r"[-+]?(0[0-9_]+|0[xX][0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+|[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?)")
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class YamlError(UserError):
    """A text that is refused as YAML; the message names the place, the line, the key and the remedy."""


def read_yaml(path: Path, bounds: YamlBounds = YamlBounds()) -> Any:
    """The one document of a file. OSError if it cannot be read, YamlError if its content is refused."""
    with path.open("rb") as file:
        data = file.read(bounds.bytes + 1)
    if len(data) > bounds.bytes:
        raise YamlError(f"{path}: over {bounds.bytes >> 20} MiB, which is the upper bound of a YAML file here: give a smaller file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise YamlError(f"{path}:{line}: not UTF-8 ({error.reason}): save the file in UTF-8") from error
    if not text.strip():
        raise YamlError(f"{path}: is empty")
    return parse_yaml(text, str(path), bounds=bounds)


def parse_yaml(text: str, where: str, numbered: bool = True, bounds: YamlBounds = YamlBounds()) -> Any:
    """The one document of `text`; None for an empty one. `where` begins the YamlError, followed by the line if lines are `numbered`."""
    try:
        return _Builder(yaml.parse(text, Loader=_Loader), where, numbered, bounds).document()
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark and numbered else ""
        tab = "; indent with spaces, not with tabs" if "\\t" in str(error.problem) or "\t" in text else ""
        raise YamlError(f"{where}{line}: not YAML: {error.context or ''} {error.problem or ''}{tab}".replace(":  ", ": ")) from error
    except yaml.reader.ReaderError as error:
        raise YamlError(f"{where}: not YAML: {error.reason}: remove the character") from error


@dataclass
class _Anchor:
    value: Any = None
    nodes: int = 0  # expanded
    complete: bool = False


class _Builder:
    """Makes values of events, recursively up to `MOST_DEPTH`."""

    def __init__(self, events: Iterator[Any], where: str, numbered: bool, bounds: YamlBounds) -> None:
        self._bounds = bounds
        self._events = events
        self._where = where
        self._numbered = numbered
        self._key: list[str] = []
        self._anchors: dict[str, _Anchor] = {}
        self._nodes = 0
        self._expanded = 0

    def document(self) -> Any:
        next(self._events)  # the stream's start
        event = next(self._events)
        if isinstance(event, yaml.StreamEndEvent):
            return None
        value = self._value(next(self._events))
        next(self._events)  # the document's end
        event = next(self._events)
        if not isinstance(event, yaml.StreamEndEvent):
            self._refuse(event, "a second document begins: give one document, without `---` after it")
        return value

    def _value(self, event: Any) -> Any:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        if event.tag is not None:
            self._refuse(event, f"the tag {event.tag[:60]} is not read: write the plain value")
        anchor = _Anchor()
        if event.anchor:
            self._anchors[event.anchor] = anchor
        before = self._nodes
        self._nodes += 1
        if self._nodes > self._bounds.values:
            self._refuse(event, f"over {self._bounds.values:,} values, which is the upper bound: give a smaller document")
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif len(self._key) >= MOST_DEPTH:
            self._refuse(event, f"nested deeper than {MOST_DEPTH} levels")
        else:
            value = self._mapping() if isinstance(event, yaml.MappingStartEvent) else self._sequence()
        anchor.value, anchor.nodes, anchor.complete = value, self._nodes - before, True
        return value

    def _alias(self, event: Any) -> Any:
        anchor = self._anchors.get(event.anchor)
        if anchor is None or not anchor.complete:
            self._refuse(event, f"the alias *{event.anchor} names {'itself' if anchor else 'no anchor before it'}")
        self._nodes += anchor.nodes
        self._expanded += anchor.nodes
        if self._expanded > MOST_EXPANDED:
            self._refuse(event, f"aliases expand to over {MOST_EXPANDED:,} values: write them out, or use fewer")
        return deepcopy(anchor.value)  # an override of one place leaves the other as it is

    def _sequence(self) -> list[Any]:
        values: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            self._key.append(str(len(values)))
            values.append(self._value(event))
            self._key.pop()
        return values

    def _mapping(self) -> dict[Any, Any]:
        values: dict[Any, Any] = {}
        merged: list[dict[Any, Any]] = []
        lines: dict[Any, int] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            merges = isinstance(event, yaml.ScalarEvent) and event.value == "<<" and event.implicit[0]
            key = "<<" if merges else self._mapping_key(event)
            if key in lines:
                self._refuse(event, f"the key {str(key)[:60]} is there already, in line {lines[key]}: keep one of them")
            lines[key] = event.start_mark.line + 1
            self._key.append(str(key))
            value = self._value(next(self._events))
            self._key.pop()
            if merges:
                merged += self._merged(event, value)
            else:
                values[key] = value
        for one in merged:
            values = one | values
        return values

    def _mapping_key(self, event: Any) -> Any:
        if not isinstance(event, (yaml.ScalarEvent, yaml.AliasEvent)):
            self._refuse(event, _NO_KEY)
        key = self._value(event)
        if isinstance(key, (dict, list)):
            self._refuse(event, _NO_KEY)
        if isinstance(key, (float, bool)) or key is None:
            self._refuse(event, f"{key} cannot be a key: write a name or a whole number, or quote it")
        return key

    def _merged(self, event: Any, value: Any) -> list[dict[Any, Any]]:
        parts = value if isinstance(value, list) else [value]
        if not all(isinstance(part, dict) for part in parts):
            self._refuse(event, "<< merges mappings: give an alias of one, or a list of them")
        return list(parts)

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if len(text) > self._bounds.characters:
            self._refuse(event, f"a text of {len(text):,} characters, the upper bound is {self._bounds.characters:,}: shorten it")
        if not self._bounds.unprintable and (found := _UNPRINTABLE.search(text)):
            self._refuse(event, f"the control character U+{ord(found[0]):04X}: remove it")
        if not event.implicit[0]:  # quoted, or a block
            return text
        if text in _NULL:
            return None
        if (word := text.lower()) in _BOOLEANS and text in (word, word.capitalize(), word.upper()):
            return _BOOLEANS[word]
        return self._number(event, text)

    def _number(self, event: Any, text: str) -> Any:
        """The number, or `text` itself if it is not a number."""
        if _ODD_NUMBER.fullmatch(text):
            self._refuse(event, f"{text[:60]} is octal, hexadecimal, binary or sexagesimal in YAML: write a decimal number, or quote it")
        if _SPECIAL_FLOAT.fullmatch(text):
            return float(text.replace(".", "", 1))
        if not _FLOAT.fullmatch(text):
            return text
        if len(text) > self._bounds.digits:
            self._refuse(event, f"a number of {len(text):,} characters, the upper bound is {self._bounds.digits}")
        return int(text.replace("_", "")) if _INTEGER.fullmatch(text) else float(text.replace("_", ""))

    def _refuse(self, event: Any, why: str) -> NoReturn:
        key = ".".join(part[:60] for part in self._key[:10])
        line = f":{event.start_mark.line + 1}" if self._numbered else ""
        raise YamlError(f"{self._where}{line}: {key + ': ' if key else ''}{why}")
