"""`--set key.path=value` on a scenario's tree, before it is validated."""

from __future__ import annotations

import re
from typing import Any

import yaml

from trtbench.errors import UserError


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Set one key in place: `load.0.concurrency=4`; the value is read as YAML. UserError when the path or the value is not sound."""
    path, separator, text = override.partition("=")
    if not separator or not re.fullmatch(r"[\w-]+(\.[\w-]+)*", path):
        raise UserError(f"--set {override}: write key.path=value, as in load.0.requests=20")
    *parents, last = path.split(".")
    node: Any = tree
    for part in parents:
        node = _child(node, part, override)
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise UserError(f"--set {override}: the value is not YAML: {error}") from error
    if isinstance(node, list):
        node[_position(node, last, override)] = value
    else:
        node[last] = value


def _child(node: Any, part: str, override: str) -> Any:
    child = node[_position(node, part, override)] if isinstance(node, list) else node.setdefault(part, {})
    if not isinstance(child, (dict, list)):
        raise UserError(f"--set {override}: {part} is {child!r}, it has no keys")
    return child


def _position(node: list[Any], part: str, override: str) -> int:
    if not part.isdigit() or int(part) >= len(node):
        raise UserError(f"--set {override}: {part} is no position of a list of {len(node)}")
    return int(part)
