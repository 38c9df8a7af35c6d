"""The stamp that a calibration server sends in the output ids of every response: index, lateness, and the instant of sending."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NUMBERS = 4
"""The number of output ids of a response: index, microseconds late, high 31 bits of the instant, low 31 bits of the instant."""

BYTES = 4 * NUMBERS
_BITS = 31
_LOW = (1 << _BITS) - 1
_FORMAT = struct.Struct(f"<{NUMBERS}i")

Integers = npt.NDArray[np.int64]


class StampError(ValueError):
    """Output ids that are not what a calibration server sends."""


@dataclass(frozen=True)
class Stamps:
    """The stamps of all responses of one request, each of shape [responses]. `late_ns` is how late the server was by its own schedule."""

    sent_ns: Integers
    late_ns: Integers

    @classmethod
    def of(cls, output_ids: Sequence[int]) -> Stamps:
        """The stamps in the output ids of a request; StampError if responses are missing, duplicated or out of order."""
        if len(output_ids) % NUMBERS:
            raise StampError(f"{len(output_ids)} output ids are not a whole number of stamps of {NUMBERS}")
        index, late_us, high, low = np.asarray(output_ids, np.int64).reshape(-1, NUMBERS).T
        if (index != np.arange(len(index))).any():
            raise StampError(f"responses are not numbered 0..{len(index) - 1} in order: {index[:8].tolist()} ...")
        return cls(high << _BITS | low, late_us * 1000)


def write_stamp(frame: bytearray, offset: int, index: int, late_ns: int, sent_ns: int) -> None:
    """Write one stamp into a message, BYTES from `offset` on."""
    _FORMAT.pack_into(frame, offset, index, min(late_ns // 1000, _LOW), sent_ns >> _BITS, sent_ns & _LOW)


def write_stamps(frames: npt.NDArray[np.uint8], offset: int, first_index: int, sent_ns: int) -> None:
    """Write the stamps of `frames`, of shape [n, bytes], which are sent in one write with consecutive indices and none of them late."""
    stamps = np.empty((len(frames), NUMBERS), "<i4")
    stamps[:, 0] = np.arange(first_index, first_index + len(frames))
    stamps[:, 1:] = 0, sent_ns >> _BITS, sent_ns & _LOW
    frames[:, offset : offset + BYTES] = stamps.view(np.uint8)
