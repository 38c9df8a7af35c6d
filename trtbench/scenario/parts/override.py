"""`--set key.path=value` on a scenario's tree, before it is validated."""

from __future__ import annotations

import re
from typing import Any

from trtbench.errors import UserError
from trtbench.scenario.parts.strict_yaml import parse_yaml

_MOST_SHOWN = 120  # characters
_MOST_DIGITS = 6  # of a position in a list


def apply_override(tree: dict[str, Any], override: str) -> None:
    """Set one key in place: `load.0.concurrency=4`; the value is read as YAML. UserError when the path or the value is not sound."""
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
        raise UserError(f"--set {_cut(override)}: {_cut(part)} is no position of a list of {len(node)}")
    return int(part)


def _cut(text: str) -> str:
    return text if len(text) <= _MOST_SHOWN else f"{text[: _MOST_SHOWN - 4]} ..."
