"""Bounds on the size of rows: of one message, and of all that are kept in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import prod

from trtbench.plan.sources.prompt_source import WorkloadError
from trtbench.plan.sources.tensors.item import Item
from trtbench.plan.sources.tensors.tensor import InputRow, TensorSpec
from trtbench.scenario.workload.tensors import Tensors
from trtbench.system.memory import memory_bounds

MOST_ROW_BYTES = (1 << 31) - (1 << 20)
"""The most bytes of one request: protobuf encodes messages below 2 GiB."""
_MOST_MEMORY_RATIO = 0.2  # of the available memory: the values, and the requests that are made of them, in two processes


def check_drawn(asked: Tensors, sent: Mapping[TensorSpec, tuple[int, ...]]) -> None:
    """WorkloadError, before anything is drawn, for rows that are too large for a message or for the memory."""
    row_bytes = asked.batch_size * sum(prod(shape) * (spec.value_bytes or asked.string_bytes + 4) for spec, shape in sent.items())
    _check_row(row_bytes)
    rows = 1 if asked.data == "zero" else asked.rows
    if rows * row_bytes > (available := _available_bytes()):
        raise WorkloadError(
            f"workload.tensors.rows = {rows}: rows of {row_bytes / 2**20:,.1f} MiB are {rows * row_bytes >> 20:,} MiB in all; "
            f"the upper bound here is {available >> 20:,}: lower rows, batch_size or shapes"
        )


def within_memory(items: Iterable[Item]) -> list[Item]:
    """All items; WorkloadError as soon as they are too large for the memory."""
    kept, kept_bytes, available = [], 0, _available_bytes()
    for item in items:
        kept_bytes += item.size_bytes
        if kept_bytes > available:
            raise WorkloadError(f"{item.where}: the data are over {available >> 20:,} MiB so far, the upper bound here: give less data")
        kept.append(item)
    return kept


def check_read(rows: Iterable[InputRow]) -> None:
    for row in rows:
        _check_row(row.size_bytes)


def _check_row(row_bytes: int) -> None:
    if row_bytes > MOST_ROW_BYTES:
        most = f"the upper bound is {MOST_ROW_BYTES >> 20:,}"
        raise WorkloadError(f"a request would have {row_bytes >> 20:,} MiB, {most}: lower -b (batch_size), --shape or the data's size")


def _available_bytes() -> int:
    return int(_MOST_MEMORY_RATIO * min(bound.available_bytes for bound in memory_bounds()))
