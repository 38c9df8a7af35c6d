"""--extra-input, --system-prompt and the key of an API, as `trtbench bench` reads them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trtbench.cli.flags.header_flags import kept_in_environment
from trtbench.errors import UserError
from trtbench.system.foreign_text import shown

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_MOST_KEY_BYTES = 4096
_MOST_INPUT_CHARACTERS = 65_536


def endpoint_of(flags: Mapping[str, Any]) -> dict[str, Any]:
    """`endpoint` of a scenario; UserError, naming the flag, for what cannot be sent."""
    paths = {key: flags[key] and str(flags[key]) for key in ("tokenizer", "engine_dir")}
    return paths | {
        "type": flags["endpoint_type"],
        "urls": list(flags["url"]),
        "model_version": flags["model_version"],
        "api_key_env": _key_variable(flags["api_key_env"], flags["api_key_file"]),
        "extra_inputs": _extra_inputs(flags["extra_input"]),
        "system_prompt": flags["system_prompt"] or "",
        "vocab_size": flags["vocab_size"],
        "eos_id": flags["eos_id"],
        "metrics_url": flags["metrics_url"],
    }


def _extra_inputs(given: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given:
        key, separator, value = text.partition(":")
        key = key.strip()
        if not separator or not _KEY.fullmatch(key) or len(text) > _MOST_INPUT_CHARACTERS:
            raise UserError(f"--extra-input {shown(text, 60)}: write KEY:VALUE, as temperature:0.7")
        if key in found:
            raise UserError(f"--extra-input {key}: is given twice; give it once")
        found[key] = _value(value.strip())
    return found


def _value(text: str) -> Any:
    """JSON, or the text itself. NaN and infinity, which are no JSON, are texts."""
    try:
        return json.loads(text, parse_constant=str)
    except (ValueError, RecursionError):
        return text


def _key_variable(variable: str | None, file: Path | None) -> str | None:
    """The environment variable that holds the key of an API: of `file`, one of this process, as of a header's value."""
    if variable is not None and file is not None:
        raise UserError(f"--api-key-env {shown(variable, 60)} and --api-key-file {file} conflict: give one of them")
    if file is None:
        return variable
    key = _of_file(file)
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(f"--api-key-file {file}: the key must be printable ASCII without blanks, and not empty")
    return kept_in_environment("KEY", key)["env"]


def _of_file(file: Path) -> str:
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(_MOST_KEY_BYTES).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not a text"
        raise UserError(f"--api-key-file {file}: cannot be read ({why}); give a file with the key") from error
