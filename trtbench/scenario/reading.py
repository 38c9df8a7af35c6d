"""Reads YAML and `--set` into a Scenario, with errors that name the key, the value and the remedy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from trtbench.errors import UserError
from trtbench.scenario.parts.bounds import OF_A_RUN
from trtbench.scenario.parts.part import Problem, ScenarioError, worded
from trtbench.scenario.parts.strict_yaml import OF_A_RUN_DIRECTORY, YamlBounds, YamlError, parse_yaml, read_yaml
from trtbench.scenario.scenario import Scenario
from trtbench.system import packaged_data

PartType = TypeVar("PartType", bound=BaseModel)

_MOST_SHOWN = 200  # characters
_MOST_SHOWN_BITS = 400  # 120 digits
_MOST_SHOWN_OF_OVERRIDE = 120  # characters
_MOST_DIGITS = 6  # of a position in a list


def load_scenario(path: Path, overrides: Sequence[str] = ()) -> Scenario:
    """Read a scenario file and apply `key.path=value` overrides; ScenarioError if anything is invalid."""
    return parse_scenario(_mapping(path, YamlBounds(), "`trtbench scenarios` lists those that ship"), str(path), overrides)


def find_scenario(path: Path) -> Path:
    """The path of a scenario: a file, or the name of one that trtbench has."""
    shipped = packaged_data.SCENARIOS / f"{path}.yaml"
    return shipped if not path.suffix and not path.is_file() and shipped.is_file() else path


def load_run_scenario(path: Path) -> Scenario:
    """The expanded scenario of a run directory, possibly of an older version, without the bounds that a new run must keep."""
    tree = _mapping(path, OF_A_RUN_DIRECTORY, "put the run's own in its place")
    return parse_part(Scenario, tree, str(path), OF_A_RUN).expanded()


def _mapping(path: Path, bounds: YamlBounds, unread: str) -> dict[str, Any]:
    """The mapping in a file. `unread`: the remedy if the file cannot be read."""
    try:
        tree = read_yaml(path, bounds)
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read ({error.strerror}); {unread}") from error
    except YamlError as error:
        raise ScenarioError(str(error)) from error
    if not isinstance(tree, dict):
        raise ScenarioError(f"{path}: a scenario is a mapping with at least `name` and `load`")
    return tree


def parse_scenario(tree: dict[str, Any], where: str, overrides: Sequence[str] = ()) -> Scenario:
    """The scenario of a mapping as YAML gives it. The overrides change `tree` itself."""
    for override in overrides:
        apply_override(tree, override)
    return parse_part(Scenario, tree, where)


def parse_part(part: type[PartType], tree: dict[str, Any], where: str, context: dict[str, bool] | None = None) -> PartType:
    """A part of a scenario. `where` begins every line of the ScenarioError; `context`: None, or OF_A_RUN."""
    try:
        return part.model_validate(tree, context=context)
    except ValidationError as error:
        problems = list(_problems(error, tree, part))
        raise ScenarioError("\n".join(_line(problem, where) for problem in problems), problems) from error


def _problems(error: ValidationError, tree: object, part: type[BaseModel]) -> Iterator[Problem]:
    """One problem for each key. pydantic also reports a sequence with an invalid item as too short, and a value of a union once for
    each branch; each is reported once here.
    """
    found = error.errors()
    places = [problem["loc"] for problem in found]
    by_key: dict[tuple[str | int, ...], tuple[object, list[str]]] = {}
    for problem in found:
        place = problem["loc"]
        if problem["type"] == "too_short" and any(other[: len(place)] == place and len(other) > len(place) for other in places):
            continue
        message = worded(problem, part)
        _, messages = by_key.setdefault(_key(place, tree, problem["type"] == "missing"), (problem["input"], []))
        messages += [message] if message not in messages else []
    for key, (value, messages) in by_key.items():
        yield Problem(key, value, "; or ".join(messages))


def _key(place: tuple[str | int, ...], tree: object, missing: bool) -> tuple[str | int, ...]:
    """The parts of pydantic's place that are keys of `tree`, without names of a union's branches. A missing key ends it."""
    key: list[str | int] = []
    node: Any = tree
    for number, part in enumerate(place):
        inside = part in node if isinstance(node, Mapping) else isinstance(node, (list, tuple)) and part in range(len(node))
        if inside or (missing and number == len(place) - 1):
            key.append(part)
        if inside:
            node = node[part]
    return tuple(key)


def _line(problem: Problem, where: str) -> str:
    shown = "" if isinstance(problem.value, (dict, BaseModel)) else f" = {_shown(problem.value)}"
    return f"{where}: {'.'.join(map(str, problem.key)) or 'scenario'}{shown}: {problem.message}"


def _shown(value: object) -> str:
    """A value as Python writes it, with YAML's null, and cut, because a number of thousands of digits or a list of thousands of items
    is not helpful.
    """
    if value is None:
        return "null"
    if isinstance(value, int) and value.bit_length() > _MOST_SHOWN_BITS:
        return f"a number of {value.bit_length()} bits"
    text = repr(value[:_MOST_SHOWN]) if isinstance(value, (str, list, tuple)) else repr(value)
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 4]} ..."


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Set one key in place: `load.0.concurrency=4`; the value is read as YAML. UserError if the path or the value is invalid."""
    path, separator, text = override.partition("=")
    if not separator or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", path):
        raise UserError(f"--set {_cut(override)}: write key.path=value, as in load.0.requests=20")
    *parents, last = path.split(".")
    node: Any = tree
    for part in parents:
        node = _child(node, part, override)
    value = parse_yaml(text, f"--set {_cut(override)}", numbered=False)
    if isinstance(node, list):
        node[_position(node, last, override)] = value
    else:
        node[last] = value


def _child(node: Any, part: str, override: str) -> Any:
    child = node[_position(node, part, override)] if isinstance(node, list) else node.setdefault(part, {})
    if not isinstance(child, (dict, list)):
        raise UserError(f"--set {_cut(override)}: {part} is {_cut(repr(child))}, it has no keys")
    return child


def _position(node: list[Any], part: str, override: str) -> int:
    if not re.fullmatch(rf"[0-9]{{1,{_MOST_DIGITS}}}", part) or int(part) >= len(node):
        raise UserError(f"--set {_cut(override)}: {_cut(part)} is not a position in a list of {len(node)}")
    return int(part)


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN_OF_OVERRIDE else f"{text[: _MOST_SHOWN_OF_OVERRIDE - 4]} ..."
