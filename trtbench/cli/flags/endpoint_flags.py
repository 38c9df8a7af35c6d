"""--extra-input, --system-prompt and the key of an API, as `trtbench bench` reads them."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from trtbench.cli.flags.header_flags import kept_in_environment
from trtbench.client.protocol import RequestOptions
from trtbench.errors import UserError
from trtbench.system.foreign_text import shown

_OURS = frozenset(
    {
        *("model", "prompt", "messages", "stream", "stream_options", "max_tokens", "max_completion_tokens", "n", "best_of"),
        *("text_input", "return_token_ids"),
    }
)
"""Keys of a request that trtbench sets itself, or that would change how an answer is counted."""
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,99}")
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,254}")
_MOST_KEY_BYTES = 4096
_MOST_INPUT_CHARACTERS = 65_536


def request_options(flags: Mapping[str, Any]) -> RequestOptions:
    """What the flags ask of requests beyond the scenario; UserError, naming the flag, for what cannot be sent."""
    return RequestOptions(
        endpoint=flags["endpoint_type"],
        extra_inputs=_extra_inputs(flags["extra_input"]),
        system_prompt=flags["system_prompt"] or "",
        streaming=flags["streaming"],
    )


def _extra_inputs(given: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for text in given:
        key, separator, value = text.partition(":")
        key = key.strip()
        if not separator or not _KEY.fullmatch(key) or len(text) > _MOST_INPUT_CHARACTERS:
            raise UserError(f"--extra-input {shown(text, 60)}: write KEY:VALUE, as temperature:0.7")
        if key in _OURS:
            raise UserError(f"--extra-input {key}: trtbench sets this key itself; leave it out (--isl, --osl and --streaming decide it)")
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


def key_header(variable: str | None, file: Path | None) -> dict[str, Any]:
    """`client.headers` with the key of an API, which reaches no file; UserError, without the key, if there is none to send."""
    if variable is None and file is None:
        return {}
    if variable is not None and file is not None:
        raise UserError(f"--api-key-env {shown(variable, 60)} and --api-key-file {file} conflict: give one of them")
    key = _of_variable(variable) if variable is not None else _of_file(file)
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise UserError(f"{_flag(variable, file)}: the key must be printable ASCII without blanks, and not empty")
    return {"authorization": kept_in_environment("KEY", f"Bearer {key}")}


def _of_variable(variable: str) -> str:
    key = os.environ.get(variable) if _VARIABLE.fullmatch(variable) else None
    if key is None:
        raise UserError(f"--api-key-env {shown(variable, 60)}: not set in the environment; give the name of a variable, not the key")
    return key.strip()


def _of_file(file: Path | None) -> str:
    assert file is not None
    try:
        with file.open(encoding="utf-8") as opened:
            return opened.read(_MOST_KEY_BYTES).strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "not a text"
        raise UserError(f"--api-key-file {file}: cannot be read ({why}); give a file with the key") from error


def _flag(variable: str | None, file: Path | None) -> str:
    return f"--api-key-env {shown(variable, 60)}" if variable is not None else f"--api-key-file {file}"
