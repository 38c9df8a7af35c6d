"""The columns of requests.parquet and samples.parquet, and the conversion of any JSON row to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from trtbench.rundir.records import EngineCounts, Outcome

_NS = pa.int64()
SERVER_TIMES = ("arrival_ns", "first_scheduled_ns", "first_token_ns", "last_token_ns")
REQUEST_SCHEMA = pa.schema(
    [
        ("index", pa.int64()),
        ("stage", pa.string()),
        ("warmup", pa.bool_()),
        ("prompt", pa.int64()),
        ("input_tokens", pa.int64()),
        ("asked_output_tokens", pa.int64()),
        ("due_ns", _NS),
        ("sent_ns", _NS),
        ("done_ns", _NS),
        ("token_ns", pa.list_(_NS)),
        ("token_lag_ns", pa.list_(_NS)),
        ("token_counts", pa.list_(pa.int32())),
        ("output_ids", pa.list_(pa.int32())),
        ("coalesced", pa.list_(pa.int32())),
        ("outcome", pa.string()),
        ("error", pa.string()),
        ("model_version", pa.string()),
        ("server", pa.struct([(n, _NS) for n in SERVER_TIMES])),
        ("attempts", pa.int32()),
        ("planned_cancel", pa.bool_()),
        ("mix", pa.string()),
        ("session", pa.int64()),
        ("turn", pa.int32()),
        ("worker", pa.int32()),
        ("embedding", pa.list_(pa.float32())),
        ("done_lag_ns", _NS),
        ("echoed_tokens", pa.int32()),
        *((name, pa.string()) for name in ("finish_reason", "output_text")),
        ("text_tokens", pa.int32()),
        ("engine", pa.struct([(name, pa.int64()) for name in EngineCounts.__slots__])),
        ("row", pa.int64()),
        *((name, pa.int32()) for name in ("reasoning_responses", "planned_input_tokens")),
        ("retry_after_s", pa.float64()),
        ("admitted_ns", _NS),
        ("read_with_end", pa.bool_()),
    ]
)
SAMPLE_SCHEMA = pa.schema([("time_ns", _NS), ("name", pa.string()), ("label", pa.string()), ("value", pa.float64())])

NEEDED = ("index", "stage", "warmup", "prompt", "input_tokens", "asked_output_tokens", "due_ns", "outcome")
"""Columns that a request must have."""
SINCE_FORMAT_1 = ("sent_ns", "done_ns", "token_ns", "token_counts", "output_ids", "error", "model_version", "server")
"""Further columns that every file of requests has; columns that are not named here were added later."""

_OUTCOMES = frozenset(outcome.value for outcome in Outcome)
_CANNOT = (pa.ArrowException, TypeError, ValueError, OverflowError)


def request_table(rows: Sequence[Any]) -> tuple[pa.Table, int, int]:
    """(The rows as columns, the number of rows left out, the number of rows with a changed value). `rows` are JSON values of any shape."""
    try:
        if all(isinstance(row, dict) and is_whole(row) for row in rows):
            return _columns(rows), 0, 0
    except _CANNOT:
        pass
    fitted = [fitted_request(row) for row in rows]
    kept = [pair for pair in fitted if pair]
    return _columns([row for row, _ in kept]), len(rows) - len(kept), sum(changed for _, changed in kept)


def sample_table(rows: Sequence[Any]) -> tuple[pa.Table, int, int]:
    """The table of sample rows, with the same counts as for requests. A sample is either kept unchanged or left out."""
    try:
        return _samples(rows), 0, 0
    except _CANNOT:
        kept = [row for row in rows if _is_sample(row)]
        return _samples(kept), len(rows) - len(kept), 0


def is_whole(row: Mapping[str, object]) -> bool:
    """Whether the lists of a request have matching lengths and its outcome is valid."""
    values: Mapping[str, Any] = row
    try:
        fit = len(values["token_ns"]) == len(values["token_counts"])
        return fit and values["outcome"] in _OUTCOMES and all(values[name] is not None for name in NEEDED)
    except (KeyError, TypeError):
        return False


def fitted_request(row: Any) -> tuple[dict[str, object], bool] | None:
    """The row with a valid value in each column, and whether a value had to be changed; None if the row is not a request."""
    if not isinstance(row, dict):
        return None
    fitted = {field.name: _fitted(row.get(field.name), field.type) for field in REQUEST_SCHEMA}
    fitted["token_ns"], fitted["token_counts"] = fitted["token_ns"] or [], fitted["token_counts"] or []
    if not is_whole(fitted):
        return None
    return fitted, any(name in row and not _same(row[name], value) for name, value in fitted.items())


def _same(before: Any, after: Any) -> bool:
    """Whether a value is unchanged after conversion. Lists of 32-bit floats come back rounded, and missing fields of a struct as None."""
    if isinstance(before, list) and isinstance(after, list):
        return len(before) == len(after)
    if isinstance(before, dict) and isinstance(after, dict):
        return all(after.get(name) == value for name, value in before.items())
    return bool(before == after) or (not before and not after)


def _fitted(value: Any, kind: Any) -> Any:
    """The value, the nearest value of the type, or None. A list is kept completely or not at all."""
    if value is None:
        return None
    if pa.types.is_struct(kind):
        return {one.name: _fitted(value.get(one.name), one.type) for one in kind} if isinstance(value, dict) else None
    if pa.types.is_list(kind):
        items = [_fitted(item, kind.value_type) for item in value] if isinstance(value, list) else [None]
        return None if None in items else items
    if pa.types.is_boolean(kind):
        return value if isinstance(value, bool) else None
    if pa.types.is_string(kind):
        return value.encode("utf-8", "replace").decode() if isinstance(value, str) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    if pa.types.is_floating(kind):
        return float(value) if abs(value) < 1e38 else None
    if not isinstance(value, int):
        return None
    most = 2 ** (kind.bit_width - 1) - 1
    return max(-most, min(value, most))


def _columns(rows: Sequence[Mapping[str, object]]) -> pa.Table:
    return pa.table([pa.array([row.get(field.name) for row in rows], field.type) for field in REQUEST_SCHEMA], schema=REQUEST_SCHEMA)


def _samples(rows: Sequence[Any]) -> pa.Table:
    columns = zip(*rows, strict=True) if rows else [()] * len(SAMPLE_SCHEMA)
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, SAMPLE_SCHEMA, strict=True)], schema=SAMPLE_SCHEMA)


def _is_sample(row: Any) -> bool:
    if not isinstance(row, list) or len(row) != len(SAMPLE_SCHEMA):
        return False
    time_ns, name, label, value = row
    numbers = type(time_ns) is int and abs(time_ns) < 2**63 and type(value) in (int, float) and abs(value) < 1e300
    return numbers and isinstance(name, str) and isinstance(label, str)
