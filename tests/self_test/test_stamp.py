from __future__ import annotations

from array import array

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.self_test.stamp import BYTES, NUMBERS, StampError, Stamps, write_stamp, write_stamps

INSTANTS = st.integers(0, 2**62 - 1)


def ids_of(frame: bytes | bytearray) -> list[int]:
    return array("i", bytes(frame)).tolist()


@given(INSTANTS, st.integers(0, 2**31 - 1))
def test_a_stamp_reads_back_to_the_nanosecond(sent_ns: int, late_us: int) -> None:
    frame = bytearray(BYTES)
    write_stamp(frame, 0, 0, late_us * 1000 + 999, sent_ns)
    stamps = Stamps.of(ids_of(frame))
    assert (stamps.sent_ns.tolist(), stamps.late_ns.tolist()) == ([sent_ns], [late_us * 1000])
    assert all(0 <= number < 2**31 for number in ids_of(frame))  # token ids are never negative


def test_lateness_stops_at_what_fits() -> None:
    frame = bytearray(BYTES)
    write_stamp(frame, 0, 0, 10**18, 1)
    assert Stamps.of(ids_of(frame)).late_ns.tolist() == [(2**31 - 1) * 1000]


@given(INSTANTS, st.integers(1, 70), st.integers(0, 5), st.integers(0, 5))
def test_a_burst_is_stamped_like_its_responses_one_by_one(sent_ns: int, count: int, before: int, after: int) -> None:
    frames = np.full((count, before + BYTES + after), 7, np.uint8)
    write_stamps(frames, before, 3, sent_ns)
    for number, frame in enumerate(frames):
        expected = bytearray([7] * (before + BYTES + after))
        write_stamp(expected, before, 3 + number, 0, sent_ns)
        assert frame.tobytes() == expected


@pytest.mark.parametrize("indices", [[0, 2], [0, 0], [1, 0], [1]])
def test_missing_doubled_and_swapped_responses_are_refused(indices: list[int]) -> None:
    with pytest.raises(StampError, match="numbered"):
        Stamps.of([number for index in indices for number in (index, 0, 1, 1)])


def test_torn_stamps_are_refused() -> None:
    with pytest.raises(StampError, match=str(NUMBERS)):
        Stamps.of([0, 0, 1])


def test_no_responses_are_no_stamps() -> None:
    assert len(Stamps.of([]).sent_ns) == 0
