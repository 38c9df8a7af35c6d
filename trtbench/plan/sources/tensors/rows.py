"""The rows of a run: every different request that it sends, in the order in which they are used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, islice, pairwise
from pathlib import Path

import numpy as np

from trtbench.plan.sources.prompt_source import WorkloadError
from trtbench.plan.sources.tensors.array_files import read_arrays
from trtbench.plan.sources.tensors.drawn import drawn_items
from trtbench.plan.sources.tensors.folders import read_folder, read_text_lines
from trtbench.plan.sources.tensors.item import Item, row_of
from trtbench.plan.sources.tensors.item_reader import ItemReader
from trtbench.plan.sources.tensors.perf_analyzer_json import read_json
from trtbench.plan.sources.tensors.row_size import check_drawn, check_read
from trtbench.plan.sources.tensors.tensor import InputRow, ModelTensors, TensorSpec, checked_shape
from trtbench.scenario.workload.tensors import Layout, Tensors
from trtbench.system.foreign_text import names, shown

_READERS = {".npy": read_arrays, ".npz": read_arrays, ".txt": read_text_lines}


@dataclass(frozen=True)
class TensorRows:
    """`sequences`: of data that consists of sequences, the numbers of the rows of each. `file`: the data's, if they are of one."""

    rows: tuple[InputRow, ...]
    sequences: tuple[range, ...] = ()
    file: Path | None = None

    def in_turn(self) -> Iterator[InputRow]:
        """The rows one after another, and again from the first, without end."""
        while True:
            yield from self.rows


def open_rows(asked: Tensors, model: ModelTensors, seed: int) -> TensorRows:
    """The rows that a workload's requests carry; WorkloadError for data that the model cannot take, or that is too large."""
    if unknown := sorted(set(asked.shapes) - {spec.name for spec in model.inputs}):
        known = names(spec.name for spec in model.inputs)
        raise WorkloadError(f"workload.tensors.shapes: the model has no input {shown(unknown[0], 80)}; its inputs are {known}")
    _check_batch(asked.batch_size, model)
    return _read(asked.data, asked, model) if isinstance(asked.data, Path) else _drawn(asked, model, seed)


def _drawn(asked: Tensors, model: ModelTensors, seed: int) -> TensorRows:
    """Optional inputs are sent only if their shape is given."""
    needed = [spec for spec in model.inputs if not spec.optional or spec.name in asked.shapes]
    if not needed:
        name = shown(model.inputs[0].name, 80)
        raise WorkloadError(f"all inputs of the model are optional: give the shape of one, as --shape {name}:SIZE")
    sent: Mapping[TensorSpec, tuple[int, ...]] = {spec: checked_shape(spec, asked.shapes.get(spec.name), model.batched) for spec in needed}
    check_drawn(asked, sent)
    items = drawn_items(sent, asked, np.random.default_rng(seed % 2**64))
    count = 1 if asked.data == "zero" else asked.rows
    return TensorRows(tuple(row_of(number, list(islice(items, asked.batch_size)), model.batched) for number in range(count)))


def _read(path: Path, asked: Tensors, model: ModelTensors) -> TensorRows:
    """Each row has the next items of the data. In sequences, a row has one."""
    sequences = _sequences(path, ItemReader(model, asked), asked.layout)
    items = list(chain.from_iterable(sequences))
    if not items:
        raise WorkloadError(f"workload.tensors.data (--input-data) {path}: has no items: give at least one")
    rows = tuple(_rows(items, asked.batch_size, model.batched))
    check_read(rows)
    if len(sequences) == 1 or asked.batch_size > 1:
        return TensorRows(rows, (), path)
    ends = accumulate(map(len, sequences), initial=0)
    return TensorRows(rows, tuple(range(start, end) for start, end in pairwise(ends)), path)


def _sequences(path: Path, reader: ItemReader, layout: Layout | None) -> list[list[Item]]:
    """The sequences of the data; data without sequences are a single one. WorkloadError for data that the model cannot take."""
    if path.is_dir():
        return [read_folder(path, reader, layout)]
    if not path.exists():
        raise WorkloadError(f"workload.tensors.data (--input-data) {path}: no such file: give random, zero, or a path")
    if path.suffix == ".json":
        return read_json(path, reader)
    if path.suffix not in _READERS:
        raise WorkloadError(f"workload.tensors.data (--input-data) {path}: its name ends in none of .json {', '.join(_READERS)}: rename it")
    return [_READERS[path.suffix](path, reader)]


def _rows(items: Sequence[Item], batch_size: int, batched: bool) -> Iterator[InputRow]:
    """The last row of a batch is filled up with the first items."""
    for number, start in enumerate(range(0, len(items), batch_size)):
        of_row = [items[at % len(items)] for at in range(start, start + batch_size)]
        yield row_of(number, of_row, batched)


def _check_batch(items: int, model: ModelTensors) -> None:
    if items > 1 and not model.batched:
        why = "the model has max_batch_size 0, so its tensors have no batch dimension"
        raise WorkloadError(f"workload.tensors.batch_size (-b) {items}: {why}: leave it out")
    if model.batched and items > model.max_batch_size:
        raise WorkloadError(f"workload.tensors.batch_size (-b) {items}: the model's max_batch_size is {model.max_batch_size}: lower it")
