"""The protocol of a writer: one format of files that other tools write and read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from trtbench.export.exported_stage import ExportedStage

Files = Mapping[str, str]
"""Name of a file: its content."""


@dataclass(frozen=True)
class Writer:
    """`files` makes the files of one stage. `lacks` says what of a run the format cannot hold."""

    name: str
    files: Callable[[ExportedStage], Files]
    lacks: str


def json_text(value: Any) -> str:
    """Indented JSON; a figure that does not exist is null, never NaN."""
    return json.dumps(_plain(value), indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def json_line(value: Any) -> str:
    return json.dumps(_plain(value), separators=(",", ":"), ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: Any) -> Any:
    """Numpy's numbers and arrays as JSON values."""
    if isinstance(value, Mapping):
        return {key: _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list):
        return _plain(value)
    return None if isinstance(value, float) and value != value else value
