"""Reading a dataset: ShareGPT-format JSON, or JSON lines of prompts or token ids, as docs/workloads.md shows them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from trtbench.load.workload import WorkloadError

_PROMPT_KEYS = ("prompt", "text", "text_input")
_LENGTH_KEYS = ("output_tokens", "output_length")
_USER = ("human", "user")
_MODEL = ("gpt", "assistant", "chatgpt")


class RawTurn(NamedTuple):
    """As the file has it: text or token ids, and the answer's text or length; None: it does not say."""

    prompt: str | list[int]
    answer: str | int | None = None


RawConversation = tuple[RawTurn, ...]
"""A single prompt is a conversation of one turn; one without a user's turn is empty."""


def read_dataset(path: Path) -> list[RawConversation]:
    """Every row, in file order. WorkloadError, with file, line or row, and remedy, when one cannot be understood."""
    try:
        rows = [_conversation(row, where) for where, row in _rows(path)]
    except (OSError, UnicodeDecodeError) as error:
        raise WorkloadError(f"workload.dataset {path} cannot be read ({error}): give a JSON or JSON-lines file in UTF-8") from error
    if not any(rows):
        raise WorkloadError(f"workload.dataset {path} holds no prompt: give at least one row with a user's turn")
    return rows


def _rows(path: Path) -> Iterator[tuple[str, Any]]:
    """(Where, row): the items of a JSON array, or the lines."""
    with path.open(encoding="utf-8-sig") as file:
        first = file.read(1)
        while first.isspace():
            first = file.read(1)
        file.seek(0)
        if first == "[":
            try:
                rows = json.load(file)
            except json.JSONDecodeError as error:
                raise WorkloadError(f"{path}:{error.lineno}: not JSON ({error.msg}); mend the file or take it whole") from error
            yield from ((f"{path}, row {number}", row) for number, row in enumerate(rows, 1))
            return
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield f"{path}:{number}", json.loads(line)
                except json.JSONDecodeError as error:
                    raise WorkloadError(f"{path}:{number}: not JSON ({error.msg}); write one object a line") from error


def _conversation(row: Any, where: str) -> RawConversation:
    if isinstance(row, dict) and "conversations" in row:
        return _turns(row["conversations"], where)
    if isinstance(row, dict) and "input_ids" in row:
        ids = row["input_ids"]
        if not isinstance(ids, list) or not ids or not all(type(token) is int and token >= 0 for token in ids):
            raise WorkloadError(f"{where}: input_ids must be a list of token ids, whole numbers from 0 up")
        return (RawTurn(ids, _output_tokens(row, where)),)
    key = next((key for key in _PROMPT_KEYS if isinstance(row, dict) and key in row), None)
    if key is None or not isinstance(row[key], str):
        raise WorkloadError(f"{where}: no prompt; give a text as {', '.join(_PROMPT_KEYS)}, token ids as input_ids, or conversations")
    return (RawTurn(row[key], _output_tokens(row, where)),)


def _output_tokens(row: dict[str, Any], where: str) -> int | None:
    key = next((key for key in _LENGTH_KEYS if row.get(key) is not None), None)
    if key is None:
        return None
    if type(row[key]) is not int or row[key] < 1:
        raise WorkloadError(f"{where}: {key} = {row[key]!r}: give a whole number of tokens from 1 up, or leave it out")
    length: int = row[key]
    return length


def _turns(messages: Any, where: str) -> RawConversation:
    """A user's message and the answer right after it make a turn; what else is said between (system, tools) is left out."""
    try:
        said = [(message["from"], str(message["value"])) for message in messages]
    except (TypeError, KeyError) as error:
        raise WorkloadError(f'{where}: conversations must be a list of {{"from": "human" or "gpt", "value": text}}') from error
    said = [(speaker, text) for speaker, text in said if speaker in _USER + _MODEL]
    pairs = zip(said, [*said[1:], ("", "")], strict=False)  # each message and the next
    return tuple(RawTurn(text, answer if who in _MODEL else None) for (speaker, text), (who, answer) in pairs if speaker in _USER)
