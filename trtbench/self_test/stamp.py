"""What a calibration server puts into the output ids of every response: its index, its lateness, and the instant it was sent."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

NUMBERS = 4
"""Output ids of one response: index, microseconds late, the instant's high 31 bits, its low 31 bits."""

BYTES = 4 * NUMBERS
_BITS = 31
_LOW = (1 << _BITS) - 1
_FORMAT = struct.Struct(f"<{NUMBERS}i")

Integers = npt.NDArray[np.int64]


class StampError(ValueError):
    """Output ids that are not what a calibration server sends."""


@dataclass(frozen=True)
class Stamps:
    """All responses of one request, each of shape [responses]. `late_ns`: the server's lateness against its own schedule."""

    sent_ns: Integers
    late_ns: Integers

    @classmethod
    def of(cls, output_ids: Sequence[int]) -> Stamps:
        """StampError when responses are missing, doubled or out of order."""
        if len(output_ids) % NUMBERS:
            raise StampError(f"{len(output_ids)} output ids are no whole number of stamps of {NUMBERS}")
        index, late_us, high, low = np.asarray(output_ids, np.int64).reshape(-1, NUMBERS).T
        if (index != np.arange(len(index))).any():
            raise StampError(f"responses are not numbered 0..{len(index) - 1} in order: {index[:8].tolist()} ...")
        return cls(high << _BITS | low, late_us * 1000)


def write_stamp(frame: bytearray, offset: int, index: int, late_ns: int, sent_ns: int) -> None:
    """Put one stamp into a message, BYTES from `offset` on."""
    _FORMAT.pack_into(frame, offset, index, min(late_ns // 1000, _LOW), sent_ns >> _BITS, sent_ns & _LOW)


def write_stamps(frames: npt.NDArray[np.uint8], offset: int, first_index: int, sent_ns: int) -> None:
    """The same for `frames` [n, bytes] that leave in one write, one index after another and none of them late."""
    stamps = np.empty((len(frames), NUMBERS), "<i4")
    stamps[:, 0] = np.arange(first_index, first_index + len(frames))
    stamps[:, 1:] = 0, sent_ns >> _BITS, sent_ns & _LOW
    frames[:, offset : offset + BYTES] = stamps.view(np.uint8)
