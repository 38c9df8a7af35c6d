"""A long stage hour by hour, and what grew in it."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.records import MS, S, columns, request_of, samples_of
from trtbench.analysis.stage.long_run import drifts, hours
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.rundir.samples import Samples

HOUR = 3600 * S
LENGTH = 2 * HOUR + HOUR // 2


def requests(growth_ms: float = 0.0, failing: float = 0.0) -> list[RequestRecord]:
    """One request each ten seconds, whose first answer takes 100 ms and `growth_ms` more each hour; the share that fails grows to
    `failing`.
    """
    draw, found = np.random.default_rng(5), []
    for due in range(0, LENGTH, 10 * S):
        first = due + round((100 + growth_ms * due / HOUR + draw.normal(0, 1)) * MS)
        fails = draw.random() < failing * due / LENGTH
        found.append(request_of(due, [] if fails else [first], Outcome.REJECTED if fails else Outcome.COMPLETED, done_ns=first))
    return found


def samples(leak_per_hour: float = 0.0, blocks: float = 0.0) -> Samples:
    draw = np.random.default_rng(7)
    times = range(0, LENGTH, 5 * S)
    return samples_of(
        {
            ("server_rss_bytes", ""): [(at, 1e9 + leak_per_hour * at / HOUR + draw.normal(0, 1e6)) for at in times],
            ("server_fds", ""): [(at, 40) for at in times],
            ("gpu_memory_used_bytes", "0"): [(at, 2e9) for at in times],
            ("kv_blocks_used", ""): [(at, 10 + blocks * at / HOUR + draw.integers(0, 5)) for at in times],
        }
    )


def test_each_hour_has_its_own_requests_and_readings() -> None:
    found = hours(columns(requests(growth_ms=50, failing=0.2)), samples(leak_per_hour=1e8, blocks=20), 0, LENGTH)
    assert found is not None and [(one.start_s, one.length_s) for one in found] == [(0, 3600), (3600, 3600), (7200, 1800)]
    first, _, last = found
    assert first.completed + first.failed == 360 and last.completed + last.failed == 180
    assert last.failed / 180 > first.failed / 360
    assert first.first_answer_ns.p50 == pytest.approx(125 * MS, rel=0.03) and last.first_answer_ns.p50 == pytest.approx(212 * MS, rel=0.03)
    assert first.server_rss_bytes == pytest.approx(1.05e9, rel=1e-3) and last.server_rss_bytes == pytest.approx(1.225e9, rel=1e-3)
    assert (first.gpu_memory_bytes, first.server_fds, first.server_threads) == (2e9, 40, None)
    assert first.kv_blocks_least == 10 and (last.kv_blocks_least or 0) >= 50


def test_a_stage_of_less_than_two_hours_has_none() -> None:
    assert hours(columns(requests()), samples(), 0, 2 * HOUR - 1) is None


def test_planted_growth_is_found_in_each_series() -> None:
    found = drifts(
        columns(requests(growth_ms=20, failing=0.3)), samples(leak_per_hour=1e7, blocks=20), 0, LENGTH, counts_cached_blocks=False
    )
    growing = {name for name, one in found.items() if one.grows}
    assert growing == {"server_rss_bytes", "kv_blocks_used", "error_ratio", "first_answer_ns"}
    assert found["server_rss_bytes"].slope_per_hour == pytest.approx(1e7, rel=0.1)
    assert found["first_answer_ns"].slope_per_hour == pytest.approx(20 * MS, rel=0.05)


def test_what_does_not_grow_is_bounded() -> None:
    found = drifts(columns(requests()), samples(), 0, LENGTH, counts_cached_blocks=True)
    assert "kv_blocks_used" not in found, "cached blocks fill the cache by design"
    assert not any(one.grows for one in found.values())
    hidden = found["server_rss_bytes"].hidden_per_hour
    assert hidden is not None and hidden < 0.5e6, "a leak of half a megabyte an hour would have been seen"
