"""Data in perf_analyzer's JSON format: `data`, a list of inputs or of sequences of inputs, and `validation_data`, aligned with it.

https://docs.nvidia.com/deeplearning/triton-inference-server/user-guide/docs/perf_analyzer/docs/input_data.html
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from trtbench.plan.sources.prompt_source import WorkloadError
from trtbench.plan.sources.tensors.item import Item
from trtbench.plan.sources.tensors.item_reader import ItemReader
from trtbench.plan.sources.tensors.tensor import Tensor, TensorSpec
from trtbench.scenario.parts.bounds import INT32
from trtbench.system.foreign_text import shown
from trtbench.system.input_file import parsed

_MOST_BYTES = 1 << 30
_FORM = 'write {"data": [{"INPUT": [1, 2]}]}, or a list of such lists for sequences'


def read_json(path: Path, reader: ItemReader) -> list[list[Item]]:
    """The sequences of a file; a file without sequences is a single one. WorkloadError, with the place, for what is not the format."""
    tree = _tree(path)
    data, expected = tree.get("data"), tree.get("validation_data")
    if not isinstance(data, list) or not data:
        raise WorkloadError(f"{path}: has no list `data`: {_FORM}")
    if expected is not None and (not isinstance(expected, list) or len(expected) != len(data)):
        raise WorkloadError(f"{path}: validation_data must have an entry for each of the {len(data)} of data")
    nested = [isinstance(entry, list) for entry in data]
    if any(nested) and not all(nested):
        raise WorkloadError(f"{path}: data mixes entries and sequences of entries: {_FORM}")
    if not nested[0]:
        return [_sequence(data, expected, str(path), ("data", "validation_data"), reader)]
    return [
        _sequence(one, expected[number] if expected else None, str(path), (f"data[{number}]", f"validation_data[{number}]"), reader)
        for number, one in enumerate(data)
    ]


def _tree(path: Path) -> dict[str, Any]:
    try:
        if (size := path.stat().st_size) > _MOST_BYTES:
            raise WorkloadError(f"{path}: has {size >> 20:,} MiB, at most {_MOST_BYTES >> 20:,} are read: give .npz for large data")
        tree = parsed(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise WorkloadError(f"{path}: cannot be read ({error.strerror}): give a file that can") from error
    except ValueError as error:
        if isinstance(error, WorkloadError):
            raise
        raise WorkloadError(f"{path}: is not JSON ({error}): {_FORM}") from error
    if not isinstance(tree, dict):
        raise WorkloadError(f"{path}: is not a JSON object: {_FORM}")
    return tree


def _sequence(entries: Sequence[Any], expected: Any, file: str, places: tuple[str, str], reader: ItemReader) -> list[Item]:
    if expected is not None and (not isinstance(expected, list) or len(expected) != len(entries)):
        raise WorkloadError(f"{file}: {places[1]} must have an entry for each of the {len(entries)} of {places[0]}")
    if not entries:
        raise WorkloadError(f"{file}: {places[0]} is empty: leave it out, or give it entries")
    items = []
    for number, entry in enumerate(entries):
        where = f"{file}: {places[0]}[{number}]"
        outputs = _tensors(expected[number], f"{file}: {places[1]}[{number}]", reader, True) if expected else {}
        items.append(reader.item(_tensors(entry, where, reader, False), outputs, where))
    return items


def _tensors(entry: Any, where: str, reader: ItemReader, outputs: bool) -> dict[str, Tensor]:
    if not isinstance(entry, dict):
        raise WorkloadError(f"{where}: is not an object of tensors by name: {_FORM}")
    return {name: _tensor(reader.spec_of(name, where, outputs), value, where, reader) for name, value in entry.items()}


def _tensor(spec: TensorSpec, value: Any, where: str, reader: ItemReader) -> Tensor:
    """A list of values; {"b64": text}; or {"content": one of these, "shape": [...]}."""
    shape = None
    if isinstance(value, dict) and "content" in value:
        shape, value = _shape(value.get("shape"), f"{where}.{shown(spec.name, 80)}"), value["content"]
    if isinstance(value, dict):
        return reader.raw_tensor(spec, _decoded(value.get("b64"), f"{where}.{shown(spec.name, 80)}"), shape, where)
    return reader.tensor(spec, value if isinstance(value, list) else [value], shape, where)


def _shape(given: Any, where: str) -> list[int] | None:
    if given is None:
        return None
    if not isinstance(given, list) or not all(type(size) is int and 0 <= size <= INT32 for size in given):
        raise WorkloadError(f"{where}: shape {shown(str(given), 60)} is not a list of sizes, as [3, 224, 224]")
    return given


def _decoded(text: Any, where: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (TypeError, ValueError, binascii.Error) as error:
        raise WorkloadError(f'{where}: is neither a list of values nor {{"b64": TEXT}} ({error}): correct it') from error
