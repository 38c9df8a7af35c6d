"""docs/scenario-keys.md: every key of a scenario with type, bounds, default and description, read from the JSON schema of Scenario."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from reference.markdown import NOTE, code, table
from trtbench.scenario.scenario import Scenario

_INTRO = """# Keys of a scenario

{note}

[Scenarios](scenarios.md) explains how a scenario is written; this page lists its keys. `NAME` is a name that you choose, `[]` is each
item of a list. Both bounds of a number are inclusive; booleans, text, NaN and infinities are not numbers. trtbench checks bounds and
names when a run begins. It reports a run directory of an older version even if its scenario exceeds a bound that was set later, but
`--resume` refuses it. A default of `null` means that the key is not set; the description states what applies then. `trtbench schema`
prints the same as JSON schema."""

_HEADER = ("key", "type", "default", "meaning")
_LAWS = "Distributions of lengths"
_LAW_LINK = f"[distribution](#{_LAWS.lower().replace(' ', '-')})"
_OF_LENGTHS = ("Range", "Normal", "Lognormal", "Empirical", "LengthsFile")
_LONGEST_DEFAULT = 60
Schema = dict[str, Any]


class Row(NamedTuple):
    key: str
    type: str
    default: str
    meaning: str


class Keys:
    """Rows of the keys of a part and of the parts inside it; a part that is listed already is only named."""

    def __init__(self) -> None:
        self._schema: Schema = Scenario.model_json_schema()
        self._listed: dict[str, str] = {}

    def sections(self) -> Iterator[str]:
        top = [self._row(name, field, self._schema) for name, field in self._schema["properties"].items() if not _models(field)]
        yield table(_HEADER, top)
        for name, field in self._schema["properties"].items():
            if _models(field):
                yield f"## {name}"
                yield _sentence(field.get("description", "")) or self._sentence_of(_models(field))
                yield table(_HEADER, self._below(name, field))
        yield f"## {_LAWS}"
        yield "Where a key of lengths has one of these forms in place of a number, it is a mapping with these keys:"
        for model in _OF_LENGTHS:
            yield _sentence(self._part(model).get("description", ""))
            yield table(_HEADER, (self._row(key, field, self._part(model)) for key, field in self._part(model)["properties"].items()))

    def _below(self, path: str, field: Schema) -> Iterator[Row]:
        """Rows of the parts in `field`, at `path`."""
        for model, suffix in _models(field):
            if model in _OF_LENGTHS or model in self._listed:
                continue
            self._listed[model] = f"{path}{suffix}"
            yield from self._part_rows(f"{path}{suffix}", self._part(model))

    def _part_rows(self, path: str, part: Schema) -> Iterator[Row]:
        for name, field in part["properties"].items():
            key = f"{path}.{name}"
            if field.get("maxProperties") == 0 or "const" in field or len(field.get("enum", ("", ""))) == 1:
                continue  # one value is possible: the key is left of an older version, or selects the part
            listed = {model: self._listed[model] for model, _ in _models(field) if model in self._listed}
            row = self._row(key, field, part)
            yield row._replace(meaning=f"{row.meaning} {_same(listed)}".strip()) if listed else row
            yield from self._below(key, field)

    def _row(self, key: str, field: Schema, part: Schema) -> Row:
        required = field is not self._schema and key.rpartition(".")[2] in part.get("required", ())
        meaning = _sentence(field.get("description", "")) or self._sentence_of(_models(field))
        return Row(code(key), self._type(field), "required" if required else _default(field), meaning)

    def _sentence_of(self, models: list[tuple[str, str]]) -> str:
        return _sentence(self._part(models[0][0]).get("description", "")) if models else ""

    def _part(self, model: str) -> Schema:
        part: Schema = self._schema["$defs"][model]
        return part

    def _type(self, field: Schema) -> str:
        if "$ref" in field:
            return _LAW_LINK if _name(field) in _OF_LENGTHS else "mapping"
        branches = [branch for branch in (*field.get("anyOf", ()), *field.get("oneOf", ())) if branch.get("type") != "null"]
        if branches:
            return " or ".join(dict.fromkeys(self._type(branch) for branch in branches))
        if "enum" in field or "const" in field:
            return ", ".join(code(value) for value in field.get("enum", [field.get("const")]))
        kind = field.get("type")
        if kind in ("integer", "number"):
            return f"{'whole number' if kind == 'integer' else 'number'} from {_number(field['minimum'])} to {_number(field['maximum'])}"
        if kind == "array":
            return f"list of {self._type(field['items'])}"
        if kind == "object":
            values: Any = field.get("additionalProperties") or next(iter(field.get("patternProperties", {}).values()), {})
            return f"mapping of names to {self._type(values) or 'values'}" if values is not True else "mapping"
        return {"boolean": "`true` or `false`", "string": "path" if field.get("format") == "path" else "text"}.get(str(kind), "")


def json_schema() -> str:
    """What `trtbench schema` prints."""
    return json.dumps(Scenario.model_json_schema(), indent=2)


def scenario_keys() -> str:
    return "\n\n".join((_INTRO.format(note=NOTE), *filter(None, Keys().sections())))


def _models(field: Any, suffix: str = "") -> list[tuple[str, str]]:
    """The parts that a field may hold, with what leads to them: [] of a list, .NAME of a mapping."""
    if "$ref" in field:
        return [(_name(field), suffix)]
    found = [one for branch in (*field.get("anyOf", ()), *field.get("oneOf", ())) for one in _models(branch, suffix)]
    if "items" in field:
        found += _models(field["items"], f"{suffix}[]")
    for values in (field.get("additionalProperties"), *field.get("patternProperties", {}).values()):
        found += _models(values, f"{suffix}.NAME") if isinstance(values, dict) else []
    return found


def _name(reference: Schema) -> str:
    return str(reference["$ref"].rpartition("/")[2])


def _same(listed: dict[str, str]) -> str:
    return f"It has the keys of {', '.join(dict.fromkeys(code(path) for path in listed.values()))}."


def _sentence(text: str) -> str:
    return " ".join(text.split())


def _number(value: float) -> str:
    return f"{value:,f}".rstrip("0").rstrip(".") if isinstance(value, float) else f"{value:,}"


def _default(field: Schema) -> str:
    value = field.get("default")
    text = json.dumps(value, ensure_ascii=False)
    return code(text) if "default" in field and len(text) <= _LONGEST_DEFAULT else "see below"
