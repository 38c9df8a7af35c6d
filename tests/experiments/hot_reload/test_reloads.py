"""What planted reloads cost and left behind."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.records import MS, S, columns, request_of, samples_of
from tests.support.runs.synthetic_reloads import (
    END,
    FIRST,
    LOADED,
    NO_SAMPLES,
    RECOVERED,
    SECOND,
    START,
    STARTED,
    THIRD,
    TTFT,
    events,
    requests,
)
from trtbench.experiments.hot_reload.reloads import Reloads, reloads
from trtbench.rundir.records import Event, Outcome, RequestRecord


def found(records: list[RequestRecord] | None = None, happened: list[Event] | None = None) -> Reloads:
    result = reloads(happened or events(), columns(records or requests()), NO_SAMPLES)
    assert result
    return result


def test_nothing_is_said_where_nothing_was_reloaded() -> None:
    assert reloads([STARTED], columns(requests()), NO_SAMPLES) is None


def test_the_spike_and_when_it_was_over() -> None:
    first = found().reloads[0]
    assert first.before and (first.before.ttft_ns.count, first.before.ttft_ns.max, first.before.ttft_ns.p99) == (100, TTFT, None)
    assert first.ttft_ns.max == TTFT + 350 * MS
    assert first.ttft_spike_ratio == (TTFT + 350 * MS) / TTFT
    assert first.itl_spike_ratio == 1.0
    assert first.recovery_ns == RECOVERED - FIRST
    assert first.failed == {}
    assert first.as_meant


def test_a_reload_that_disturbs_nobody_has_no_spike_and_is_over_when_it_is_done() -> None:
    second, third = found().reloads[1:]
    for one in (second, third):
        assert one.ttft_spike_ratio == 1.0
        assert one.recovery_ns == S


def test_before_begins_at_the_last_recovery() -> None:
    second = found().reloads[1]
    assert second.before and second.before.from_ns == RECOVERED
    assert second.before.ttft_ns.max == TTFT


def test_a_broken_version_is_as_meant_when_it_is_refused_and_the_old_one_serves_on() -> None:
    second = found().reloads[1]
    assert not second.loaded and second.as_meant
    assert second.served_on == ("2",)
    assert second.first_request_penalty_ns is None and second.overlap_ns is None


def test_versions_overlap_from_the_new_ones_readiness_to_the_end_of_the_old() -> None:
    assert [one.overlap_ns for one in found().reloads] == [3 * S, None, None]


def test_who_answered_and_the_first_request_of_the_new_version() -> None:
    result = found()
    assert result.versions["1"].completed == 120 and result.versions["2"].completed == 280
    assert result.versions["2"].first_sent_ns == LOADED
    assert [one.first_request_penalty_ns for one in result.reloads] == [350 * MS, None, 0]


def test_requests_that_fail_are_counted_by_outcome_and_delay_the_recovery() -> None:
    records = requests()
    failed = next(i for i, r in enumerate(records) if r.due_ns == START + 13 * S + 500 * MS)
    records[failed] = replace(records[failed], outcome=Outcome.UNAVAILABLE, token_ns=[], token_counts=[])
    first = found(records).reloads[0]
    assert first.failed == {"unavailable": 1}
    assert first.recovery_ns == records[failed].due_ns + 1 - FIRST


def test_a_reload_that_never_recovers_leaves_its_baseline_to_the_next() -> None:
    slow = [request_of(r.due_ns, [at + 350 * MS for at in r.token_ns]) if FIRST <= r.due_ns < SECOND else r for r in requests()]
    first, second, _ = found(slow).reloads
    assert first.recovery_ns is None
    assert first.requests >= 100
    assert second.before == first.before


def test_a_request_in_flight_when_the_reload_begins_is_in_its_window() -> None:
    records = [*requests(), request_of(FIRST - 50 * MS, [FIRST + 2 * S], index=9)]
    first = found(records).reloads[0]
    assert first.ttft_ns.max == 2 * S + 50 * MS
    assert first.before and first.before.ttft_ns.max == TTFT


@pytest.mark.parametrize(("per_reload", "expected"), [(2.0, 2.0), (0.0, 0.0)])
def test_rises_per_reload(per_reload: float, expected: float) -> None:
    fds = [(at - 1, 30 + per_reload * i) for i, at in enumerate((FIRST, SECOND, THIRD, END - S))]
    gpu = {("gpu_memory_used_bytes", gpu): [(at, 5.0 * value) for at, value in fds] for gpu in "01"}
    result = reloads(events(), columns(requests()), samples_of({("server_fds", ""): fds, **gpu}))
    assert result and result.rises["server_threads"] is None
    fds_rise, gpu_rise = result.rises["server_fds"], result.rises["gpu_memory_used_bytes"]
    assert fds_rise and fds_rise.per_reload == pytest.approx(expected, abs=1e-9) and fds_rise.readings == 4
    assert gpu_rise and gpu_rise.per_reload == pytest.approx(10 * expected, abs=1e-9)


def test_memory_before_and_at_its_highest_until_the_next_reload() -> None:
    """What was replaced may go when the latency has long recovered."""
    rss = [(FIRST - S, 100.0), (FIRST + S, 200.0), (RECOVERED + S, 250.0), (SECOND + S, 400.0)]
    gpu = {("gpu_memory_used_bytes", gpu): [(at, 2 * value) for at, value in rss] for gpu in "01"}
    result = reloads(events(), columns(requests()), samples_of({("server_rss_bytes", ""): rss, **gpu}))
    assert result and (result.reloads[0].rss_before_bytes, result.reloads[0].rss_peak_bytes) == (100.0, 250.0)
    assert (result.reloads[0].gpu_before_bytes, result.reloads[0].gpu_peak_bytes) == (400.0, 1000.0)


def test_no_gpu_is_no_figure_of_one() -> None:
    result = found()
    assert result.rises["gpu_memory_used_bytes"] is None and result.course.gpu_bytes == ()
    assert result.reloads[0].gpu_peak_bytes is None


def test_a_reload_that_the_run_broke_off() -> None:
    happened = [e for e in events() if not (e.kind == "reload_finished" and e.data["number"] == 3)]
    third = found(happened=happened).reloads[2]
    assert third.end_ns is None and third.recovery_ns is None and not third.loaded


def test_the_course_for_the_figure() -> None:
    course = found().course
    assert (course.from_ns, course.bin_ns) == (START, S)
    assert {version: sum(counts) for version, counts in course.by_version.items()} == {"1": 120, "2": 280}
    assert course.by_version["1"][11:13] == (10, 0) and course.by_version["2"][11:13] == (0, 10)
    assert max(ttft for _, ttft in course.ttft_ns) == TTFT + 350 * MS and len(course.ttft_ns) == 400
    assert {gap for gap in course.itl_p99_ns if gap} == {10 * MS}


def test_repeats_of_a_kind_have_a_spread() -> None:
    happened = events()
    for e in happened:
        if e.kind.startswith("reload_"):
            e.data["repeat"], e.data["reload"] = e.data["number"], "changed_config"
    (group,) = found(happened=happened).groups
    ratio = (TTFT + 350 * MS) / TTFT
    spike = group.figures["ttft_spike_ratio"]
    assert (group.repeats, group.as_meant, group.recovered) == (3, 2, 3)
    assert spike and (spike.median, spike.min, spike.max, spike.count) == (1.0, 1.0, ratio, 3)
    load = group.figures["load_s"]
    assert load and (load.min, load.max) == (1.5, 1.5)


def test_kinds_with_and_without_warmup_are_separate_groups() -> None:
    happened = events()
    for e in happened:
        if e.kind.startswith("reload_"):
            e.data["reload"], e.data["warmup"] = "new_version", e.data["number"] == 3
    assert [(group.example.warmup, group.repeats) for group in found(happened=happened).groups] == [(False, 2), (True, 1)]


def test_what_came_after_is_from_the_recovery_to_the_next_reload() -> None:
    first, second, third = found().reloads
    assert first.after == second.before and first.after
    assert (first.after.from_ns, first.after.to_ns, first.after.ttft_ns.max) == (RECOVERED, SECOND, TTFT)
    assert third.after and third.after.from_ns == THIRD + S


def test_what_is_left_where_many_were_lost_has_no_spike() -> None:
    records = requests()
    hit = [i for i, r in enumerate(records) if FIRST <= r.due_ns < FIRST + S]
    for i in hit[:2]:
        records[i] = replace(records[i], outcome=Outcome.UNAVAILABLE, token_ns=[], token_counts=[])
    first = found(records).reloads[0]
    assert (first.ttft_spike_ratio, first.lost) == (None, 2)
    assert first.ttft_ns.max == TTFT + 350 * MS


def test_an_encoders_answer_comes_whole() -> None:
    """The same course with E2E latency in the place of TTFT, and no gaps."""
    whole = [replace(r, token_ns=[], token_counts=[], asked_output_tokens=0, done_ns=r.token_ns[0]) for r in requests()]
    result, of_tokens = found(whole), found()
    for one, other in zip(result.reloads, of_tokens.reloads, strict=True):
        assert (one.ttft_ns, one.ttft_spike_ratio, one.recovery_ns) == (other.ttft_ns, other.ttft_spike_ratio, other.recovery_ns)
        assert (one.first_request_penalty_ns, one.before and one.before.ttft_ns) == (
            other.first_request_penalty_ns,
            other.before and other.before.ttft_ns,
        )
        assert (one.itl_ns.count, one.itl_spike_ratio) == (0, None)
    assert result.course.ttft_ns == of_tokens.course.ttft_ns and set(result.course.itl_p99_ns) == {None}


def test_a_reload_that_loaded_and_then_failed_is_not_as_meant() -> None:
    happened = events()
    next(e for e in happened if e.kind == "reload_finished" and e.data["number"] == 1).data["error"] = "m is still served"
    first = found(happened=happened).reloads[0]
    assert first.loaded and not first.as_meant


def test_without_a_baseline_since_the_last_recovery_the_one_before_is_used() -> None:
    """Else no later reload could be compared with anything. The one request of the calm is answered when the second reload has begun."""
    late = request_of(RECOVERED + MS, [SECOND + MS], index=9)
    kept = [r for r in requests() if not RECOVERED - S <= r.due_ns < SECOND]
    first, second, third = found(sorted([*kept, late], key=lambda r: r.due_ns)).reloads
    assert first.after is None and second.before == first.before and second.before
    assert second.recovery_ns is not None and third.recovery_ns is not None


def test_a_request_that_meets_two_reloads_and_fails_is_lost_once() -> None:
    waits = replace(request_of(FIRST + S, []), outcome=Outcome.TIMEOUT, done_ns=SECOND + 2 * S)
    slow = [request_of(r.due_ns, [at + 350 * MS for at in r.token_ns]) if FIRST <= r.due_ns < SECOND else r for r in requests()]
    result = found(sorted([*slow, waits], key=lambda r: r.due_ns))
    assert [one.lost for one in result.reloads] == [1, 1, 0]
    assert (result.failed, result.lost) == ({"timeout": 1}, 1)


def test_what_is_open_while_requests_pile_up_is_no_leak() -> None:
    """The second reload begins before the load is calm again: what is open then is not the first one's."""
    fds = [(FIRST - 1, 30.0), (SECOND - 1, 900.0), (THIRD - 1, 30.0), (END - S, 30.0)]
    slow = [request_of(r.due_ns, [at + 350 * MS for at in r.token_ns]) if FIRST <= r.due_ns < SECOND else r for r in requests()]
    result = reloads(events(), columns(slow), samples_of({("server_fds", ""): fds}))
    assert result and result.reloads[0].recovery_ns is None
    rise = result.rises["server_fds"]
    assert rise and (rise.readings, rise.per_reload) == (3, pytest.approx(0, abs=1e-9))
