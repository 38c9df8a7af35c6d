"""Sorting of large arrays of integers, of which a day's run has hundreds of millions."""

from __future__ import annotations

import numpy as np

from trtbench.rundir.ragged import Ints

_PART = 1 << 20
_NARROW = 2**32
"""The values of 32 bits. As many nanoseconds are 4.3 seconds, so that most gaps and lags of a run fit."""


def sort_in_place(values: Ints) -> None:
    """Sort an array [n] of 64-bit integers, exactly and without further memory.

    Values that lie within 2**32 of each other are sorted as 32-bit integers in the same memory, which takes 0.6 of the time
    (`benchmarks/report_scale.py` measures a report, most of which is sorting).
    """
    if len(values) < _PART or not values.flags.c_contiguous:
        values.sort()
        return
    least = int(values.min())
    if int(values.max()) - least >= _NARROW:
        values.sort()
        return
    narrow = values.view(np.uint32)[: len(values)]
    starts = range(0, len(values), _PART)
    for start in starts:  # a narrow value is never behind the wide one that is read
        narrow[start : start + _PART] = (values[start : start + _PART] - least).astype(np.uint32)
    narrow.sort()
    for start in reversed(starts):
        values[start : start + _PART] = narrow[start : start + _PART].astype(np.int64) + least
