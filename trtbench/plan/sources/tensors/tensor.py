"""Tensors in KServe's types: those that a model takes and returns (TensorSpec), and those that a request carries (Tensor, InputRow)."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from trtbench.plan.sources.prompt_source import WorkloadError
from trtbench.system.foreign_text import shown

BYTES = "BYTES"
INTEGERS = {f"{sign}INT{8 * size}": f"<{sign.lower() or 'i'}{size}" for sign in ("", "U") for size in (1, 2, 4, 8)}
FLOATS = {"FP16": "<f2", "FP32": "<f4", "FP64": "<f8"}
NUMPY_TYPES = {"BOOL": "?", **INTEGERS, **FLOATS, "BF16": "<u2"}
"""NumPy's type by KServe's. NumPy has no BF16: its values are the upper halves of FP32."""

_LARGEST = {
    "FP16": (65504.0, 65520.0),
    "BF16": (3.3895313892515355e38, 3.3961775292304957e38),
    "FP32": (3.4028234663852886e38, 3.4028235677973366e38),
    "FP64": (1.7976931348623157e308, np.inf),
}
"""By type its largest value, and the least that is rounded to infinity: half a unit in the last place above."""
_BYTES_LENGTH = struct.Struct("<I")  # before each element of a BYTES tensor
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class TensorSpec:
    """A tensor of a model. `shape` has no batch dimension; -1 is a variable dimension. A request may leave out an `optional` input."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    optional: bool = False

    @property
    def variable(self) -> bool:
        return any(size < 0 for size in self.shape)

    @property
    def value_bytes(self) -> int:
        """The size of one value; 0 for strings, which have different sizes."""
        return np.dtype(NUMPY_TYPES[self.datatype]).itemsize if self.datatype in NUMPY_TYPES else 0

    def fits(self, shape: Sequence[int]) -> bool:
        """Whether a tensor of `shape`, without its batch dimension, can be this one."""
        return len(shape) == len(self.shape) and all(mine in (-1, size) for mine, size in zip(self.shape, shape, strict=True))


@dataclass(frozen=True)
class ModelTensors:
    """What a model takes and returns. With a `max_batch_size` above 0, its tensors have a batch dimension before the shapes here.

    `decoupled`: a request gets any number of responses. `keeps_state`: requests belong to sequences, which the model distinguishes.
    """

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int
    decoupled: bool
    keeps_state: bool

    @property
    def batched(self) -> bool:
        return self.max_batch_size > 0


@dataclass(frozen=True)
class Tensor:
    """A tensor as a request or an answer carries it: `shape` with the batch dimension, `data` as KServe encodes it."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes


@dataclass(frozen=True)
class InputRow:
    """What one request carries, and the outputs that are expected of it, if any are known. `number`: its place among the rows."""

    number: int
    inputs: tuple[Tensor, ...]
    expected: tuple[Tensor, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(len(tensor.data) for tensor in (*self.inputs, *self.expected))


def digest_of(rows: Iterable[InputRow]) -> str:
    """SHA-256 of all tensors of all rows."""
    digest = hashlib.sha256()
    for row in rows:
        for role, tensors in (("input", row.inputs), ("expected", row.expected)):
            for tensor in tensors:
                digest.update(repr((row.number, role, tensor.name, tensor.datatype, tensor.shape, len(tensor.data))).encode())
                digest.update(tensor.data)
    return digest.hexdigest()


def encode_strings(elements: Iterable[bytes]) -> bytes:
    """The elements of a BYTES tensor, each after its length."""
    return b"".join(_BYTES_LENGTH.pack(len(element)) + element for element in elements)


def count_strings(data: bytes) -> int | None:
    """The number of elements of a BYTES tensor; None if its lengths do not add up to its size."""
    at = count = 0
    while at + _BYTES_LENGTH.size <= len(data):
        at += _BYTES_LENGTH.size + _BYTES_LENGTH.unpack_from(data, at)[0]
        count += 1
    return count if at == len(data) else None


def encode_values(values: Any, datatype: str) -> bytes:
    """Numbers, truth values or strings as KServe encodes them, row by row. ValueError for a value that the type cannot hold."""
    if datatype == BYTES:
        return encode_strings(map(_as_bytes, np.asarray(values, dtype=object).reshape(-1).tolist()))
    array = _flat(values, datatype)
    kind = np.dtype("<f4" if datatype == "BF16" else NUMPY_TYPES[datatype])
    _check_range(array, datatype, kind)
    if datatype == "BF16":
        return _upper_halves(array.astype("<f4")).tobytes()
    with np.errstate(over="ignore"):
        return array.astype(kind).tobytes()


def _as_bytes(element: Any) -> bytes:
    if isinstance(element, bytes):
        return element
    if not isinstance(element, str):
        raise ValueError(f"{shown(str(element), 40)!r} is not a string")
    return element.encode()


def _flat(values: Any, datatype: str) -> Array:
    array = np.asarray(values).reshape(-1)
    if array.dtype.kind == "O" and datatype in _LARGEST and all(isinstance(value, int) for value in array.tolist()):
        try:
            return array.astype(np.float64)  # integers beyond 64 bits
        except OverflowError:
            raise ValueError(f"{shown(str(array[0]), 40)} is out of the range of {datatype}") from None
    if datatype == "UINT64" and array.dtype.kind == "f":  # also what NumPy makes of integers on both sides of 2**63
        exact = np.asarray(values, dtype=object).reshape(-1)
        if all(isinstance(value, int) and 0 <= value < 2**64 for value in exact):
            return exact.astype(np.uint64)
    return array


def _check_range(array: Array, datatype: str, kind: np.dtype[Any]) -> None:
    if not array.size:
        return
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{shown(str(array[0]), 40)!r} is not a number, the input is {datatype}")
    if kind.kind in "iu":
        bounds = np.iinfo(kind)
        wrong = array[(array < bounds.min) | (array > bounds.max) | (array != np.floor(array) if array.dtype.kind == "f" else False)]
        if wrong.size:
            raise ValueError(f"{wrong[0]} is not a whole number of {datatype}, {bounds.min} to {bounds.max}")
    elif kind.kind == "b" and (wrong := array[(array != 0) & (array != 1)]).size:
        raise ValueError(f"{wrong[0]} is neither true nor false")
    elif datatype in _LARGEST:
        largest, beyond = _LARGEST[datatype]
        if (wrong := array[np.isfinite(array) & (np.abs(array.astype(np.float64)) >= beyond)]).size:
            raise ValueError(f"{wrong[0]} is out of the range of {datatype}, {largest:g}")


def _upper_halves(array: Array) -> Array:
    """FP32 rounded to BF16, ties to even; NaN stays NaN."""
    bits = array.view("<u4").astype(np.uint64)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return np.where(np.isnan(array), 0x7FC0, rounded).astype("<u2")


def decode_floats(datatype: str, data: bytes) -> Array | None:
    """The values of a tensor of floating-point numbers, as FP64; None for another type."""
    if datatype == "BF16":
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4").astype("<f8")
    return np.frombuffer(data, FLOATS[datatype]).astype("<f8") if datatype in FLOATS else None


def size_fault(tensor: Tensor) -> str:
    """What is wrong with the size of a tensor's data, or an empty text."""
    elements, size = prod(tensor.shape), len(tensor.data)
    if tensor.datatype == BYTES:
        found = count_strings(tensor.data)
        return "" if found == elements else f"{'no whole' if found is None else found} strings for shape {list(tensor.shape)}"
    wanted = elements * np.dtype(NUMPY_TYPES[tensor.datatype]).itemsize if tensor.datatype in NUMPY_TYPES else -1
    return "" if size == wanted else f"{size} bytes for shape {list(tensor.shape)} of {tensor.datatype}"


def checked_shape(spec: TensorSpec, given: Sequence[int] | None, batched: bool) -> tuple[int, ...]:
    """The shape of an input without its batch dimension; WorkloadError if it is not known, or the model cannot take it."""
    name, key = shown(spec.name, 80), "workload.tensors.shapes"
    if given is None:
        if spec.variable:
            example = ",".join(str(size if size > 0 else "N") for size in spec.shape)
            raise WorkloadError(
                f"{key}: input {name} has the variable shape {list(spec.shape)}: give its shape, as --shape {name}:{example}"
            )
        return spec.shape
    shape = tuple(given)
    if batched and spec.fits(shape[1:]) and not spec.fits(shape):
        without = ",".join(map(str, shape[1:]))
        raise WorkloadError(f"{key}: {name} {list(shape)} has the batch dimension: leave it out, as --shape {name}:{without}; -b sets it")
    if not spec.fits(shape):
        raise WorkloadError(f"{key}: {name} {list(shape)}: the model takes {list(spec.shape)}, where -1 is any size")
    return shape
