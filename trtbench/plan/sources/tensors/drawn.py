"""Input values that are drawn: random ones from a seed, or zeros."""

from __future__ import annotations

import string
from collections.abc import Iterator, Mapping
from math import prod

import numpy as np

from trtbench.plan.sources.tensors.item import Item
from trtbench.plan.sources.tensors.tensor import BYTES, INTEGERS, NUMPY_TYPES, Tensor, TensorSpec, encode_strings, encode_values
from trtbench.scenario.workload.tensors import Tensors

_LETTERS = np.frombuffer((string.ascii_letters + string.digits).encode(), np.uint8)


def drawn_items(specs: Mapping[TensorSpec, tuple[int, ...]], asked: Tensors, random: np.random.Generator) -> Iterator[Item]:
    """Items without end, whose inputs have the given shapes. Floating-point numbers are uniform from 0 to 1."""
    while True:
        yield Item({spec.name: _drawn(spec, shape, asked, random) for spec, shape in specs.items()})


def _drawn(spec: TensorSpec, shape: tuple[int, ...], asked: Tensors, random: np.random.Generator) -> Tensor:
    data = _zeros(spec.datatype, prod(shape)) if asked.data == "zero" else _random(spec.datatype, prod(shape), asked, random)
    return Tensor(spec.name, spec.datatype, shape, data)


def _zeros(datatype: str, count: int) -> bytes:
    return bytes(4 * count) if datatype == BYTES else bytes(count * np.dtype(NUMPY_TYPES[datatype]).itemsize)


def _random(datatype: str, count: int, asked: Tensors, random: np.random.Generator) -> bytes:
    if datatype == BYTES:
        letters = random.choice(_LETTERS, size=(count, asked.string_bytes))
        return encode_strings(row.tobytes() for row in letters)
    if datatype == "BOOL":
        return encode_values(random.integers(2, size=count), datatype)
    if datatype in INTEGERS:
        most = min(asked.largest_integer, int(np.iinfo(NUMPY_TYPES[datatype]).max))
        return encode_values(random.integers(most + 1, size=count, dtype=np.uint64), datatype)
    return encode_values(random.random(count, dtype=np.float32), datatype)
