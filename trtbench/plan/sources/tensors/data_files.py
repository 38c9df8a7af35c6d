"""The data that a workload names by a path: the reader of each format, by what lies there."""

from __future__ import annotations

from pathlib import Path

from trtbench.plan.sources.prompt_source import WorkloadError
from trtbench.plan.sources.tensors.array_files import read_arrays
from trtbench.plan.sources.tensors.folders import read_folder, read_text
from trtbench.plan.sources.tensors.item import Item
from trtbench.plan.sources.tensors.item_reader import ItemReader
from trtbench.plan.sources.tensors.perf_analyzer_json import read_json
from trtbench.scenario.workload.tensors import Layout

_READERS = {".npy": read_arrays, ".npz": read_arrays, ".txt": read_text}


def read_sequences(path: Path, reader: ItemReader, layout: Layout | None) -> list[list[Item]]:
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
