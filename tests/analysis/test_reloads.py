"""Reloads whose cost is planted: requests every 100 ms, one reload that makes them slow, one that fails, one that disturbs nobody."""

from __future__ import annotations

from dataclasses import replace

import pytest
from synthetic_run import MS, S, request_of, samples_of

from trtbench.analysis.reloads import Reloads, reloads
from trtbench.records import Event, Outcome, RequestRecord

START, TTFT, STEP = 100 * S, 50 * MS, 10 * MS
FIRST, LOADED, RECOVERED = START + 10 * S, START + 12 * S, START + 13 * S + 1
"""The first reload; version 2 answers from LOADED on, and requests due up to 13 s into the stage wait 400 ms."""
SECOND = START + 20 * S
THIRD = START + 30 * S
END = START + 40 * S
NO_SAMPLES = samples_of({})


def event(time_ns: int, kind: str, **data: object) -> Event:
    return Event(time_ns, kind, "d", data)


def reload_events(number: int, kind: str, start_ns: int, end_ns: int, **data: object) -> list[Event]:
    facts = {"reload": kind, "number": number, "to": None}
    done = {"ok": True, "error": "", "load_s": 1.5, "unload_s": None, "version": None, "versions_before": None, "versions_after": None}
    return [event(start_ns, "reload_started", **facts), event(end_ns, "reload_finished", **facts | done | data)]


def request(due_ns: int) -> RequestRecord:
    ttft = TTFT + 350 * MS if FIRST <= due_ns <= START + 13 * S else TTFT
    tokens = [due_ns + ttft + STEP * i for i in range(4)]
    return request_of(due_ns, tokens, model_version="1" if due_ns < LOADED else "2")


def requests() -> list[RequestRecord]:
    return [request(due) for due in range(START, END, 100 * MS)]


def events() -> list[Event]:
    ready, both = {"1": "READY"}, {"1": "UNLOADING", "2": "READY"}
    return sorted(
        [
            event(START, "stage_started"),
            event(START - S, "model_versions", versions=ready),
            event(FIRST + S, "model_versions", versions={"1": "READY", "2": "LOADING"}),
            event(LOADED, "model_versions", versions=both),
            event(LOADED + 3 * S, "model_versions", versions={"2": "READY"}),
            *reload_events(1, "new_version", FIRST, LOADED, version="2", versions_before=ready, versions_after=both),
            *reload_events(
                2,
                "broken",
                SECOND,
                SECOND + S,
                ok=False,
                error="broken on purpose",
                version="3",
                versions_before={"2": "READY"},
                versions_after={"2": "READY", "3": "UNAVAILABLE"},
            ),
            *reload_events(3, "changed_config", THIRD, THIRD + S),
        ],
        key=lambda e: e.time_ns,
    )


def found(records: list[RequestRecord] | None = None, happened: list[Event] | None = None) -> Reloads:
    result = reloads(happened or events(), records or requests(), NO_SAMPLES)
    assert result
    return result


def test_nothing_is_said_where_nothing_was_reloaded() -> None:
    assert reloads([event(START, "stage_started")], requests(), NO_SAMPLES) is None


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


def test_a_reload_that_never_calms_down_has_no_recovery_and_the_next_is_compared_with_what_was_calm() -> None:
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
def test_slopes_per_reload(per_reload: float, expected: float) -> None:
    fds = [(at - 1, 30 + per_reload * i) for i, at in enumerate((FIRST, SECOND, THIRD, END - S))]
    result = reloads(events(), requests(), samples_of({("server_fds", ""): fds}))
    assert result and result.slopes["server_fds"] == pytest.approx(expected, abs=1e-9)
    assert result.slopes["server_threads"] is None


def test_memory_before_and_at_its_highest_in_the_window() -> None:
    rss = [(FIRST - S, 100.0), (FIRST + S, 250.0), (RECOVERED + S, 400.0)]
    result = reloads(events(), requests(), samples_of({("server_rss_bytes", ""): rss}))
    assert result and (result.reloads[0].rss_before_bytes, result.reloads[0].rss_peak_bytes) == (100.0, 250.0)


def test_a_reload_that_the_run_broke_off() -> None:
    happened = [e for e in events() if not (e.kind == "reload_finished" and e.data["number"] == 3)]
    third = found(happened=happened).reloads[2]
    assert third.end_ns is None and third.recovery_ns is None and not third.loaded
