"""The base of every part of a scenario, and the wording of its validation errors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from typing import Annotated, Any, NamedTuple, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, StringConstraints
from pydantic_core import ErrorDetails

from trtbench.errors import UserError

MOST_NAME_CHARACTERS = 64
NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""Names become names of directories and models, so they have only letters, digits, '.', '_' and '-'."""


_OF_RUN = ("scenario.yaml", "environment.json", "events.jsonl", "summary.json", "report.md", "report.html", "plots", "set-aside")
_OF_DEPLOYMENT = ("deployment.json", "engine.json", "config.pbtxt", "server.log", "plan.jsonl", "inputs.parquet", "model_repository")
_OF_RECORDS = ("requests.parquet", "requests.jsonl", "samples.parquet", "samples.jsonl")
RUN_FILES = frozenset((*_OF_RUN, *_OF_DEPLOYMENT, *_OF_RECORDS))
"""Names that a run directory, or a deployment's in it, uses itself and that a deployment cannot have."""


class Problem(NamedTuple):
    """One fault of a scenario. `key`: the path to it, keys of mappings and positions in lists; `value`: what was written there."""

    key: tuple[str | int, ...]
    value: object
    message: str


class ScenarioError(UserError):
    """A scenario that cannot be run; the message names the key, the value and the remedy.

    `problems`: each fault separately, for a caller whose user wrote flags instead of keys; empty if it is not about single keys.
    """

    def __init__(self, message: str, problems: Sequence[Problem] = ()) -> None:
        super().__init__(message)
        self.problems = tuple(problems)


_AnyPart = TypeVar("_AnyPart", bound="Part")


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True, allow_inf_nan=False)

    def __deepcopy__(self: _AnyPart, memo: dict[int, Any] | None = None) -> _AnyPart:
        """The part itself, which is frozen. pydantic would copy a default that it cannot hash, once for each model that is read."""
        return self


_MOST_LISTED = 12
_LIST, _MAPPING, _WHOLE, _REAL = (
    "must be a list, as [a, b]",
    "must be a mapping of keys to values",
    "must be a whole number",
    "must be a number",
)
_BOOLEAN, _TEXT = "must be true or false", "must be text; write a number in quotes"
_WORDS = {
    "missing": "is required",
    **dict.fromkeys(("tuple_type", "list_type", "set_type", "frozen_set_type", "iterable_type"), _LIST),
    **dict.fromkeys(("model_type", "model_attributes_type", "dict_type", "mapping_type"), _MAPPING),
    **dict.fromkeys(("int_type", "int_parsing", "int_parsing_size", "int_from_float"), _WHOLE),
    **dict.fromkeys(("float_type", "float_parsing", "finite_number"), _REAL),
    **dict.fromkeys(("bool_type", "bool_parsing"), _BOOLEAN),
    "string_type": _TEXT,
    "path_type": "must be a path, written as text",
    "none_required": "must be null",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "string_too_short": "must have at least {min_length} character(s)",
    "string_too_long": "must have at most {max_length} characters",
    "too_short": "must have at least {min_length} item(s)",
    "too_long": "must have at most {max_length} items",
    "union_tag_invalid": "{discriminator} must be one of {expected_tags}",
    "union_tag_not_found": "needs the key {discriminator}",
}
"""Texts by pydantic's type of error; {...} are values of its context."""
_NAME = "must be 1 to 64 letters, digits, '.', '_' or '-', and begin with a letter or a digit"


def worded(problem: ErrorDetails, part: type[BaseModel]) -> str:
    """One fault of a value of `part`: the rule, and for an unknown key the known keys."""
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown(str(problem["loc"][-1]), sorted(set(_known(part, problem["loc"][:-1]))))
    if context.get("pattern") == NAME_PATTERN:
        return _NAME
    if kind in _WORDS:
        return _WORDS[kind].format(**context)
    return problem["msg"].removeprefix("Value error, ").replace("Input should be", "must be")


def _unknown(key: str, known: Sequence[str]) -> str:
    if key in known:
        return "conflicts with the other keys of this mapping"
    if close := get_close_matches(key, known, 3, 0.6):
        return f"is not a known key; did you mean {' or '.join(close)}?"
    more = f" and {len(known) - _MOST_LISTED} more" if len(known) > _MOST_LISTED else ""
    return f"is not a known key; known keys are {', '.join(known[:_MOST_LISTED])}{more}" if known else "is not a known key; leave it out"


def _known(part: type[BaseModel], place: Sequence[str | int]) -> Iterator[str]:
    """Keys of the models at `place`. A part of the place that is not a field (a position, a name, a branch of a union) changes nothing."""
    models = {part}
    for step in place:
        fields = [field for model in models for name, field in model.model_fields.items() if step in (name, field.alias)]
        models = {model for field in fields for model in _models(field.annotation)} or models
    return (field.alias or name for model in models for name, field in model.model_fields.items())


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
