"""Reloads whose cost is planted: requests every 100 ms, one reload that makes them slow, one that fails, one that disturbs nobody."""

from __future__ import annotations

from tests.support.records import MS, S, request_of, samples_of
from trtbench.rundir.records import Event, RequestRecord
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario

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


def planned_reloads(repeats: int = 1, max_spike: float = 2.0) -> Scenario:
    """As `events` has them."""
    kinds = [{"kind": "new_version"}, {"kind": "broken"}, {"kind": "changed_config", "max_queue_delay_us": 5}]
    asked = {"before_s": 10, "every_s": 10, "reloads": kinds, "repeats": repeats, "max_spike": max_spike}
    return parse_scenario({"name": "x", "load": [{"mode": "constant", "rate": 10, "requests": 400}], "hot_reload": asked}, "x")
