"""A P99 that no single window has: three reloads of one kind, whose windows wait 100, 200 and 300 ms, at 100 requests a second."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.records import MS, S, columns, request_of
from tests.support.runs.synthetic_reloads import NO_SAMPLES, START, STARTED, TTFT, reload_events
from trtbench.experiments.hot_reload.reload_groups import Pool
from trtbench.experiments.hot_reload.reloads import reloads
from trtbench.rundir.records import Event, Outcome, RequestRecord

BEGINS = [START + at * S for at in (20, 40, 60)]
SLOW_S, GAP, END = 4, 10 * MS, START + 80 * S
WAITING = TTFT // GAP  # requests due before a reload that are still waiting when it begins


def request(due_ns: int, step: int) -> RequestRecord:
    slow = next((100 * (i + 1) * MS for i, at in enumerate(BEGINS) if at <= due_ns < at + SLOW_S * S), TTFT)
    return request_of(due_ns, [due_ns + slow, due_ns + slow + step], model_version="1")


def happened(kinds: tuple[str, ...] = ("changed_config",) * 3) -> list[Event]:
    made = [e for i, at in enumerate(BEGINS) for e in reload_events(i + 1, kinds[i], at, at + S)]
    return [STARTED, *made]


def pooled(records: list[RequestRecord], told: list[Event]) -> list[Pool]:
    result = reloads(told, columns(records), NO_SAMPLES)
    assert result
    return [group.pool for group in result.groups]


def records() -> list[RequestRecord]:
    return [request(due, GAP) for due in range(START, END, GAP)]


def test_the_p99_of_all_windows_and_what_hangs_on_one() -> None:
    (pool,) = pooled(records(), happened())
    in_window = SLOW_S * S // GAP - 1 + WAITING  # the last slow one is one in a hundred of the good second
    assert (pool.windows, pool.ttft_ns.count, pool.ttft_ns.p99) == (3, 3 * in_window, 300 * MS)
    assert in_window < 1000 and pool.before_ttft_ns.p99 == TTFT
    assert pool.ttft_spike_ratio == 6.0 and pool.itl_spike_ratio == 1.0
    assert pool.ttft_p99_without_one_ns == (200 * MS, 300 * MS)


def test_each_kind_has_a_pool_of_its_own_and_no_p99_of_too_few() -> None:
    first, second = pooled(records(), happened(("new_version", "changed_config", "new_version")))
    assert (first.windows, second.windows) == (2, 1)
    assert (second.ttft_ns.p99, second.ttft_spike_ratio, second.ttft_p99_without_one_ns) == (None, None, None)
    assert first.before_ttft_ns.p99 == TTFT and first.ttft_p99_without_one_ns == (100 * MS, 300 * MS)


def test_a_baseline_used_for_two_reloads_counts_once() -> None:
    """The first never recovers: what was calm before it is what the second is held against."""
    slow = [request_of(r.due_ns, [at + 300 * MS for at in r.token_ns]) if BEGINS[0] <= r.due_ns < BEGINS[1] else r for r in records()]
    result = reloads(happened(), columns(slow), NO_SAMPLES)
    assert result and result.reloads[0].recovery_ns is None
    (pool,) = (group.pool for group in result.groups)
    calms = {one.before for one in result.reloads}
    assert len(calms) == 2 and pool.before_ttft_ns.count == sum(one.ttft_ns.count for one in calms if one)


@pytest.mark.parametrize(("lost", "ratio"), [(12, 6.0), (13, None)])
def test_no_ratio_where_over_one_in_a_hundred_was_lost(lost: int, ratio: float | None) -> None:
    some = records()
    hit = [i for i, r in enumerate(some) if BEGINS[1] <= r.due_ns < BEGINS[1] + S][:lost]
    for i in hit:
        some[i] = replace(some[i], outcome=Outcome.UNAVAILABLE, token_ns=[], token_counts=[])
    (pool,) = pooled(some, happened())
    assert (pool.ttft_spike_ratio, pool.windows) == (ratio, 3)
