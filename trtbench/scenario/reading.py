"""From YAML to a Scenario, with errors that name the key, the value and the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from trtbench.override import apply_override
from trtbench.scenario.part import Part, ScenarioError
from trtbench.scenario.scenario import Scenario

PartType = TypeVar("PartType", bound=Part)


def load_scenario(path: Path, overrides: Sequence[str] = ()) -> Scenario:
    """Read a scenario file and apply `key.path=value` overrides; ScenarioError on anything that does not hold."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read ({error.strerror}); `trtbench scenarios` lists those that ship") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: not YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ScenarioError(f"{path}: a scenario is a mapping with at least `name` and `load`")
    for override in overrides:
        apply_override(tree, override)
    return parse_scenario(tree, str(path))


def parse_scenario(tree: dict[str, Any], where: str) -> Scenario:
    return parse_part(Scenario, tree, where)


def parse_part(part: type[PartType], tree: dict[str, Any], where: str) -> PartType:
    """`where` begins every line of the ScenarioError."""
    try:
        return part.model_validate(tree)
    except ValidationError as error:
        raise ScenarioError(_explain(error, where)) from error


def _explain(error: ValidationError, where: str) -> str:
    """One line a problem. pydantic calls a sequence with a bad item too short as well: said once is enough."""
    problems = error.errors()
    places = [problem["loc"] for problem in problems]
    lines = []
    for problem in problems:
        place = problem["loc"]
        if problem["type"] == "too_short" and any(other[: len(place)] == place and len(other) > len(place) for other in places):
            continue
        value = problem["input"]
        shown = "" if isinstance(value, (dict, BaseModel)) else f" = {value!r}"
        key = ".".join(str(part) for part in place if not str(part).startswith("<")) or "scenario"  # <kind>: of a union, no key
        lines.append(f"{where}: {key}{shown}: {problem['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)
