"""The formats of traces: the columns or keys of each, and the units of its times.

Azure's and BurstGPT's traces are tables (CSV). Mooncake's (`timestamp` in milliseconds, `hash_ids` of blocks of 512 tokens) and Alibaba's
Bailian traces (seconds, 16 tokens) are JSON lines. Other JSON lines may have `timestamp_s` (seconds), and `input_ids`, the prompt
itself, in place of `input_length`.
"""

from __future__ import annotations

import re
from calendar import timegm
from datetime import datetime
from typing import Any

import numpy as np

from trtbench.plan.sources.dataset_row import type_of
from trtbench.plan.sources.prompt_source import TokenIds
from trtbench.plan.sources.reader import Reader, RowError, TracedRequest
from trtbench.scenario.parts.bounds import INT32, MOST_TOKENS
from trtbench.system.clock import NS_PER_S

_NS_PER_MS = 1_000_000
_MOST_NS = 2**62  # their differences fit 64 bits
_DATE = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?", re.ASCII)
_NUMBER = re.compile(r"-?\d{1,18}(\.\d{1,18})?", re.ASCII)
_DRAWN = "prompts are drawn of the given lengths, because the file has none"


def _json_request(row: Any, unit_ns: int) -> TracedRequest:
    if not isinstance(row, dict):
        raise RowError(f"the row is {type_of(row)}, not an object with timestamp, input_length and output_length")
    key = "timestamp_s" if "timestamp_s" in row else "timestamp"
    time_ns = _time_ns(row.get(key), NS_PER_S if key == "timestamp_s" else unit_ns, key)
    output_tokens = _tokens(row.get("output_length"), "output_length")
    if "input_ids" in row:
        ids = _token_ids(row["input_ids"])
        return TracedRequest(time_ns, len(ids), output_tokens, input_ids=ids)
    return TracedRequest(time_ns, _tokens(row.get("input_length"), "input_length"), output_tokens, _hash_ids(row.get("hash_ids")))


def _time_ns(time: Any, unit_ns: int, key: str) -> int:
    if isinstance(time, bool) or not isinstance(time, (int, float)) or not abs(time) * unit_ns < _MOST_NS:
        raise RowError(f"{key} is not a time: give milliseconds as timestamp, or seconds as timestamp_s")
    return round(time * unit_ns)


def _tokens(value: Any, key: str) -> int:
    if value == 0 and type(value) in (int, float):
        raise RowError(f"{key} is 0")
    if type(value) is not int or not 1 <= value <= MOST_TOKENS:
        raise RowError(f"{key} is not a whole number of tokens from 1 to {MOST_TOKENS:,}")
    return value


def _hash_ids(ids: Any) -> tuple[int, ...]:
    if ids is None:
        return ()
    if not isinstance(ids, list) or not all(type(one) is int for one in ids):
        raise RowError("hash_ids is not a list of whole numbers, one for each block")
    return tuple(ids)


def _token_ids(ids: Any) -> TokenIds:
    if not isinstance(ids, list) or not ids or not all(type(one) is int and 0 <= one <= INT32 for one in ids):
        raise RowError("input_ids is not a list of token ids, whole numbers from 0 up")
    return np.array(ids, np.int32)


def _cell_tokens(row: dict[str, Any], column: str) -> int:
    cell = str(row.get(column))
    return _tokens(int(cell) if cell.isdecimal() and cell.isascii() and len(cell) < 19 else None, column)


def _azure(row: Any) -> TracedRequest:
    found = _DATE.fullmatch(str(row.get("TIMESTAMP")))
    if not found:
        raise RowError("TIMESTAMP is not a date and a time, as 2023-11-16 18:15:46.6805900")
    try:
        second = datetime.fromisoformat(f"{found[1]}T{found[2]}{(found[4] or '+00:00').replace('Z', '+00:00')}")
    except ValueError:
        raise RowError("TIMESTAMP is not a date and a time that exists") from None
    time_ns = timegm(second.utctimetuple()) * NS_PER_S + int((found[3] or "0").ljust(9, "0"))
    return TracedRequest(time_ns, _cell_tokens(row, "ContextTokens"), _cell_tokens(row, "GeneratedTokens"))


def _burstgpt(row: Any) -> TracedRequest:
    cell = str(row.get("Timestamp"))
    if not _NUMBER.fullmatch(cell):
        raise RowError("Timestamp is not a number of seconds")
    time_ns = _time_ns(float(cell), NS_PER_S, "Timestamp")
    return TracedRequest(time_ns, _cell_tokens(row, "Request tokens"), _cell_tokens(row, "Response tokens"))


def _has_columns(*columns: str) -> Any:
    return lambda row: isinstance(row, dict) and all(column in row for column in columns)


_AZURE, _BURSTGPT = ("TIMESTAMP", "ContextTokens", "GeneratedTokens"), ("Timestamp", "Request tokens", "Response tokens")
_AZURE_NOTES = ("TIMESTAMP is a date, in UTC if it names no zone", _DRAWN)
_BURSTGPT_NOTES = (
    "Timestamp is in seconds",
    "a row with 0 response tokens failed and is left out",
    "sessions and models are not used",
    _DRAWN,
)
_BAILIAN_NOTES = ("timestamp is in seconds", "chat_id, turn and type are not used: hash_ids show what requests share", _DRAWN)

TRACE_FORMATS: tuple[Reader, ...] = (
    Reader("azure", _has_columns(*_AZURE), _AZURE_NOTES, request=_azure, columns=_AZURE),
    Reader("burstgpt", _has_columns(*_BURSTGPT), _BURSTGPT_NOTES, request=_burstgpt, columns=_BURSTGPT),
    Reader(
        "bailian",
        lambda row: isinstance(row, dict) and "parent_chat_id" in row,
        _BAILIAN_NOTES,
        request=lambda row: _json_request(row, NS_PER_S),
    ),
    Reader(
        "mooncake",
        lambda row: True,
        ("timestamp is in milliseconds, timestamp_s in seconds", "prompts are drawn, except those of input_ids"),
        request=lambda row: _json_request(row, _NS_PER_MS),
    ),
)
"""The formats in the order in which a row is tried; the last takes every row."""
