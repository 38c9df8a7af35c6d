"""Reloads whose cost is planted: requests every 100 ms, one reload that makes them slow, one that fails, one that disturbs nobody."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.support.records import MS, S, request_of, samples_of
from trtbench.rundir.event_kinds import EventData, StageStarted
from trtbench.rundir.events import event_of
from trtbench.rundir.experiment_events import ModelVersions, ReloadFinished, ReloadKind, ReloadStarted
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


def event(time_ns: int, data: EventData) -> Event:
    return event_of(time_ns, data, "d")


STARTED = event(START, StageStarted(name="constant-10", mode="constant", asked=10, planned=400))


def versions(time_ns: int, states: Mapping[str, str]) -> Event:
    return event(time_ns, ModelVersions(versions=states))


def reload_events(number: int, kind: ReloadKind, start_ns: int, end_ns: int, **data: Any) -> list[Event]:
    finished = ReloadFinished(reload=kind, number=number, **{"ok": True, "load_s": 1.5} | data)
    return [event(start_ns, ReloadStarted(reload=kind, number=number)), event(end_ns, finished)]


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
            STARTED,
            versions(START - S, ready),
            versions(FIRST + S, {"1": "READY", "2": "LOADING"}),
            versions(LOADED, both),
            versions(LOADED + 3 * S, {"2": "READY"}),
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
