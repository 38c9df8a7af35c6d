"""What the KV budget was to carry, and what it held back, from gauges with a planted truth."""

from __future__ import annotations

import pytest

from tests.support.records import columns, request_of, samples_of
from trtbench.experiments.kv_cache.pressure import Held, KvCapacity, KvPressure, kv_capacity, kv_pressure
from trtbench.rundir.samples import Samples

Series = dict[tuple[str, str], list[tuple[int, float]]]


def gauges(used: list[int], waiting: list[int], paused: list[int] | None = None, **more: list[int]) -> Samples:
    names = {"kv_blocks_used": used, "inflight_waiting_requests": waiting, "kv_blocks_max": [10], "kv_block_tokens": [16], **more}
    series: Series = {(name, ""): [(10 * i, n) for i, n in enumerate(values)] for name, values in names.items()}
    if paused is not None:
        series["inflight_paused_requests", ""] = [(10 * i, n) for i, n in enumerate(paused)]
    return samples_of(series)


SHORT = request_of(0, [5], input_tokens=20, asked_output_tokens=12)  # 32 tokens: 2 blocks
LONG = request_of(0, [5], input_tokens=40, asked_output_tokens=9)  # 49 tokens: 4 blocks; the mean is 40.5: 3 blocks


def pressure(samples: Samples, may_cache: bool = False, end_ns: int = 30) -> KvPressure:
    found = kv_pressure("c4", 4.0, columns([SHORT, LONG]), samples, 0, end_ns, may_cache)
    assert found is not None
    return found


def test_what_fits() -> None:
    found = pressure(gauges([0, 1, 1, 1], [0, 0, 0, 0]))
    assert (found.request_tokens_mean, found.request_tokens_longest) == (40.5, 49)
    assert (found.blocks, found.fit_mean, found.fit_longest) == (10, 3, 2)


def test_waiting_counts_as_held_back_only_where_the_longest_does_not_fit() -> None:
    found = pressure(gauges([0, 6, 7, 9], [0, 2, 3, 0], [0, 0, 0, 1]))
    assert found.waiting == Held(3, 0.5)
    assert found.paused == Held(1, 0.25)
    assert found.held_back_ratio == 0.5  # 7 and 9 of 10 used leave less than 4; at 6 used there was room
    assert pressure(gauges([9, 9, 9, 9], [0, 0, 0, 0], [0, 0, 0, 0])).held_back_ratio == 0


def test_what_was_not_read_is_not_known() -> None:
    found = pressure(gauges([9, 9, 9, 9], [1, 1, 1]))
    assert found.paused is None and found.held_back_ratio is None
    assert kv_pressure("c4", 4.0, columns([SHORT]), samples_of({}), 0, 30, False) is None
    assert kv_pressure("c4", 4.0, columns([]), gauges([1], [0]), 0, 30, False) is None


def test_hits_only_from_the_engines_own_count_of_reused_blocks() -> None:
    counted = pressure(gauges([1, 1, 1, 1], [0, 0, 0, 0], kv_blocks_reused=[5, 5, 6, 7]), may_cache=True)
    assert counted.reused_blocks == 2
    assert counted.hit_ratio == pytest.approx(2 * 16 / 60)
    assert counted.held_back_ratio is None
    silent = pressure(gauges([1, 1, 1, 1], [0, 0, 0, 0]), may_cache=True)
    assert (silent.reused_blocks, silent.hit_ratio) == (None, None)


def held(users: float | None, ratio: float | None, fits: tuple[int, int] = (9, 10)) -> KvPressure:
    longest, mean = fits
    return KvPressure("s", users, 10, 1.0, 1, mean, longest, None, None, ratio, None, None)


def test_capacity_is_the_stage_below_the_first_that_was_held_back() -> None:
    assert kv_capacity([held(12, 0.2), held(4, 0.0), held(8, 0.0), held(16, 0.0)]) == KvCapacity(8, 12, 9, 10)
    assert kv_capacity([held(1, 0.0), held(4, 0.0)]) == KvCapacity(4, None, 9, 10)
    assert kv_capacity([held(4, 0.1)]) == KvCapacity(None, 4, 9, 10)
    assert kv_capacity([held(None, 0.0), held(4, None)]) is None


@pytest.mark.parametrize(
    ("fits", "carried", "held_back", "agrees"),
    [
        ((10, 10), 8, 12, True),
        ((10, 10), 10, 11, True),
        ((10, 10), 11, 12, False),
        ((10, 10), 8, 10, False),
        ((6, 9), 8, 12, True),
        ((6, 7), 8, 12, False),
        ((10, 10), 8, None, None),
        ((3, 3), None, 4, True),
    ],
)
def test_whether_the_prediction_lies_where_the_limit_was_found(
    fits: tuple[int, int], carried: int | None, held_back: int | None, agrees: bool | None
) -> None:
    stages = [held(users, ratio, fits) for users, ratio in ((carried, 0.0), (held_back, 0.3)) if users is not None]
    found = kv_capacity(stages)
    assert found is not None and found.agrees is agrees
