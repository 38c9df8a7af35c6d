"""The values of a response's tensors. A value that is out of range is refused with the name of its tensor (docs/truth.md)."""

from __future__ import annotations

import json
import struct
from array import array
from collections.abc import Sequence
from math import prod

import numpy as np

MOST_COUNT = 2**31 - 1  # TensorRT-LLM counts in INT32
MOST_INSTANT_NS = 2**63 - 1
MOST_TENSORS = 64
MOST_DIMENSIONS = 8
INTEGERS = {f"{sign}INT{8 * size}": f"<{sign.lower() or 'i'}{size}" for sign in ("", "U") for size in (1, 2, 4, 8)}
_NUMBERS = INTEGERS | {"FP32": "<f4", "FP64": "<f8"}
_BYTES_LENGTH = struct.Struct("<I")  # before each element of a BYTES tensor
_LONGEST_NUMBER = 64  # characters of a number that is sent as text
_LONGEST_WORD = 64
_LONGEST_LIST = 1 << 16

Tensor = tuple[str, Sequence[int], bytes]
"""KServe's datatype, the shape and the contents of a tensor."""


def text_of(raw: bytes) -> bytes:
    """The first element of a BYTES tensor, which is that of the only beam; ValueError if it is truncated."""
    if not raw:
        return b""
    if len(raw) < _BYTES_LENGTH.size or len(raw) < _BYTES_LENGTH.size + (length := _BYTES_LENGTH.unpack_from(raw)[0]):
        raise ValueError(f"a text tensor of {len(raw)} bytes is shorter than its length prefix states")
    return raw[_BYTES_LENGTH.size : _BYTES_LENGTH.size + length]


def word_of(raw: bytes) -> str:
    """A short text, of a long one its beginning. Python's None as a text, which llmapi sends before a request ends, is an empty text."""
    word = text_of(raw)[: 4 * _LONGEST_WORD].decode("utf-8", "replace")[:_LONGEST_WORD]
    return "" if word == "None" else word


def output_text(name: str, tensor: Tensor) -> bytes:
    """The text of a tensor; ValueError if the tensor has another type."""
    datatype, _, raw = tensor
    if datatype != "BYTES":
        raise ValueError(f"{name} is {datatype}: a text is BYTES")
    return text_of(raw)


def integer(name: str, tensor: Tensor, most: int = MOST_COUNT) -> int:
    """A number from 0 to `most`, which may also be JSON in a string, as llmapi sends it; ValueError if it is anything else."""
    datatype, _, raw = tensor
    value = _number(datatype, raw)
    if value is None:
        raise ValueError(f"{name} is {datatype} {raw[:40]!r}: not a number")
    if not 0 <= value <= most:
        raise ValueError(f"{name} is {str(value)[:40]}: out of range, 0 to {most}")
    return int(value)


def _number(datatype: str, raw: bytes) -> int | float | None:
    """The first number of a tensor, or None if it has none."""
    try:
        if datatype == "BYTES":
            text = text_of(raw)
            value = json.loads(text) if len(text) <= _LONGEST_NUMBER else None
        else:
            value = np.frombuffer(raw, _NUMBERS[datatype]).flat[0].item()
    except (KeyError, IndexError, ValueError, RecursionError):
        return None
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value else None


def token_ids(name: str, tensor: Tensor, length: Tensor | None) -> Sequence[int]:
    """The new tokens of a response: a tensor of shape [1, 1, n], of which the first `length` count.

    They are a list, or, if there are very many, an array, which takes a ninth of the memory. ValueError if they are not integers, are more
    than one sequence, or do not fit INT32.
    """
    datatype, shape, raw = tensor
    if datatype not in INTEGERS:
        raise ValueError(f"{name} is {datatype}: token ids are integers")
    if len(shape) > MOST_DIMENSIONS or (len(shape) > 1 and len(raw) and prod(shape[:-1]) != 1):
        raise ValueError(f"{name} is of shape {list(shape)[:8]}: one sequence is expected")
    ids = array("i", raw) if datatype == "INT32" else _narrowed(name, datatype, raw)
    if length is not None and length[2]:
        ids = ids[: integer("sequence_length", length)]
    return ids.tolist() if len(ids) <= _LONGEST_LIST else ids


def _narrowed(name: str, datatype: str, raw: bytes) -> array[int]:
    values = np.frombuffer(raw, INTEGERS[datatype])
    if values.size and (values.min() < -MOST_COUNT - 1 or values.max() > MOST_COUNT):
        raise ValueError(f"{name} has {values.max()}: token ids are 0 to {MOST_COUNT}")
    return array("i", values.astype(np.int32).tobytes())
