"""The rows of a run: every different request that it sends, in the order in which they are used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from math import prod

import numpy as np

from trtbench.plan.sources.prompt_source import WorkloadError
from trtbench.plan.sources.tensors.drawn import drawn_items
from trtbench.plan.sources.tensors.item import row_of
from trtbench.plan.sources.tensors.tensor import BYTES, NUMPY_TYPES, InputRow, ModelTensors, TensorSpec, checked_shape
from trtbench.scenario.workload.tensors import Tensors
from trtbench.system.foreign_text import names, shown
from trtbench.system.memory import memory_bounds

MOST_ROW_BYTES = (1 << 31) - (1 << 20)
"""Of one request: protobuf encodes messages below 2 GiB."""
_MOST_MEMORY_RATIO = 0.2  # of the available memory: the values, and the requests that are made of them, in two processes


@dataclass(frozen=True)
class TensorRows:
    """`sequences`: of data that consists of sequences, the numbers of the rows of each."""

    rows: tuple[InputRow, ...]
    sequences: tuple[range, ...] = ()

    def in_turn(self) -> Iterator[InputRow]:
        """The rows one after another, and again from the first, without end."""
        while True:
            yield from self.rows


def open_rows(asked: Tensors, model: ModelTensors, seed: int) -> TensorRows:
    """The rows that a workload's requests carry; WorkloadError for data that the model cannot take, or that is too large."""
    specs = {spec.name: spec for spec in model.inputs}
    if unknown := sorted(set(asked.shapes) - set(specs)):
        raise WorkloadError(f"workload.tensors.shapes: the model has no input {shown(unknown[0], 80)}; its inputs are {names(specs)}")
    _check_batch(asked.batch_size, model)
    sent = {spec: checked_shape(spec, asked.shapes.get(spec.name), model.batched) for spec in _sent(model, asked)}
    if not sent:
        raise WorkloadError(
            f"all inputs of the model are optional: give the shape of one, as --shape {shown(model.inputs[0].name, 80)}:SIZE"
        )
    _check_size(asked, sent)
    items = drawn_items(sent, asked, np.random.default_rng(seed % 2**64))
    count = 1 if asked.data == "zero" else asked.rows
    return TensorRows(tuple(row_of(number, list(islice(items, asked.batch_size)), model.batched) for number in range(count)))


def _sent(model: ModelTensors, asked: Tensors) -> Iterator[TensorSpec]:
    """The inputs that drawn requests carry: optional ones only if their shape is given."""
    for spec in model.inputs:
        if not spec.optional or spec.name in asked.shapes:
            if spec.datatype not in NUMPY_TYPES and spec.datatype != BYTES:
                raise WorkloadError(f"input {shown(spec.name, 80)} is {spec.datatype}: trtbench sends {', '.join(NUMPY_TYPES)} and {BYTES}")
            yield spec


def _check_batch(items: int, model: ModelTensors) -> None:
    if items > 1 and not model.batched:
        raise WorkloadError(
            f"workload.tensors.batch_size (-b) {items}: the model has max_batch_size 0, so its tensors have no batch dimension"
        )
    if model.batched and items > model.max_batch_size:
        raise WorkloadError(f"workload.tensors.batch_size (-b) {items}: the model's max_batch_size is {model.max_batch_size}: lower it")


def _check_size(asked: Tensors, sent: dict[TensorSpec, tuple[int, ...]]) -> None:
    """WorkloadError, before anything is drawn, for rows that are too large for a message or for the memory."""
    sizes = {spec: asked.string_bytes + 4 if spec.datatype == BYTES else np.dtype(NUMPY_TYPES[spec.datatype]).itemsize for spec in sent}
    row_bytes = asked.batch_size * sum(prod(shape) * sizes[spec] for spec, shape in sent.items())
    check_bytes(row_bytes, 1 if asked.data == "zero" else asked.rows)


def check_bytes(row_bytes: int, rows: int) -> None:
    if row_bytes > MOST_ROW_BYTES:
        raise WorkloadError(
            f"a request would have {row_bytes >> 20:,} MiB, the upper bound is {MOST_ROW_BYTES >> 20:,}: lower -b or --shape"
        )
    available = int(_MOST_MEMORY_RATIO * min(bound.available_bytes for bound in memory_bounds()))
    if rows * row_bytes > available:
        raise WorkloadError(
            f"workload.tensors.rows = {rows}: rows of {row_bytes / 2**20:,.1f} MiB are {rows * row_bytes >> 20:,} MiB in all; "
            f"the upper bound here is {available >> 20:,}: lower rows, batch_size or shapes"
        )
