"""Data of NumPy files: .npy for a model with one input, .npz with an array for each input, and for outputs that are expected."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from trtbench.plan.sources.prompt_source import WorkloadError
from trtbench.plan.sources.tensors.item import Item
from trtbench.plan.sources.tensors.item_reader import ItemReader
from trtbench.plan.sources.tensors.tensor import Array, Tensor, TensorSpec
from trtbench.system.foreign_text import shown


def read_arrays(path: Path, reader: ItemReader) -> list[Item]:
    """The items of a file. An array has the input's own shape, and is one item, or has a dimension before it, along which items lie.

    WorkloadError for what is not such a file, or does not fit the model.
    """
    arrays = _loaded(path, reader)
    inputs = {name: _parts(reader.spec_of(name, str(path)), array, path) for name, array in arrays.items() if name not in reader.outputs}
    expected = {name: _parts(reader.outputs[name], array, path) for name, array in arrays.items() if name in reader.outputs}
    counts = {name: len(parts) for name, parts in {**inputs, **expected}.items()}
    if len(set(counts.values())) > 1:
        found = ", ".join(f"{shown(name, 40)} {count}" for name, count in counts.items())
        raise WorkloadError(f"{path}: arrays hold different numbers of items ({found}): give the same number of each")
    return [_item(number, inputs, expected, path, reader) for number in range(max(counts.values(), default=0))]


def _loaded(path: Path, reader: ItemReader) -> Mapping[str, Array]:
    try:
        loaded = np.load(path, allow_pickle=False)
        if isinstance(loaded, np.ndarray):
            return {reader.only_input(str(path)).name: loaded}
        with loaded:
            return {name: loaded[name] for name in loaded.files}
    except OSError as error:
        raise WorkloadError(f"{path}: cannot be read ({error.strerror or error}): give a file that can") from error
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, WorkloadError):
            raise
        raise WorkloadError(f"{path}: is not a NumPy file of numbers or strings ({error}): write it with numpy.savez") from error


def _parts(spec: TensorSpec, array: Array, path: Path) -> list[Array]:
    """The array of each item."""
    if spec.fits(array.shape):
        return [array]
    if spec.fits(array.shape[1:]) and array.ndim:
        return list(array)
    raise WorkloadError(
        f"{path}: {shown(spec.name, 80)} has shape {list(array.shape)}, the model takes {list(spec.shape)} (-1 is any size), with or "
        "without a dimension of items before it"
    )


def _item(number: int, inputs: Mapping[str, list[Array]], expected: Mapping[str, list[Array]], path: Path, reader: ItemReader) -> Item:
    where = f"{path}[{number}]"

    def tensors(parts: Mapping[str, list[Array]], specs: Mapping[str, TensorSpec]) -> dict[str, Tensor]:
        return {name: reader.tensor(specs[name], arrays[number], arrays[number].shape, where) for name, arrays in parts.items()}

    return reader.item(tensors(inputs, reader.inputs), tensors(expected, reader.outputs), where)
