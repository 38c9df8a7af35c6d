"""Errors, other users and clocks of GPUs: found where they are planted, and not found where they are not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.records import S, samples_of
from tests.support.runs.synthetic_run import write_synthetic_run
from trtbench.analysis.stage.resources import GpuUse
from trtbench.analysis.stats.window import Level
from trtbench.analysis.summary import Summary, summarise
from trtbench.analysis.verdict.gpu_health import GpuHealth, clock_reasons, gpu_health, health_reasons, held_gpus, held_reasons
from trtbench.rundir.lines import sample_row
from trtbench.rundir.records import Event, Sample

LOCKED = Event(0, "gpu_locked", "", {"gpu": 0, "settings": {"sm_clock_mhz": 1410}, "previous": {"sm_clock_mhz": None}})
RESTORED = Event(9, "gpu_restored", "", {"gpu": 0, "settings": {"sm_clock_mhz": None}, "left_by": None})


def codes(health: dict[str, GpuHealth], *events: Event) -> dict[str, str]:
    return {reason.code: reason.grade for reason in health_reasons("d", health, events)}


def test_a_gpu_in_health_gives_no_reason() -> None:
    samples = samples_of({("gpu_ecc_uncorrected", "0"): [(0, 7), (9, 7)], ("gpu_other_processes", "0"): [(0, 0), (9, 0)]})
    assert gpu_health(samples) == {"0": GpuHealth((), 0, False, 0)}
    assert codes(gpu_health(samples)) == {}
    assert gpu_health(samples_of({("gpu_power_w", "0"): [(0, 1)]})) == {}


def test_what_is_planted_is_found() -> None:
    samples = samples_of(
        {
            ("gpu_ecc_uncorrected", "0"): [(0, 7), (5, 9), (9, 9)],
            ("gpu_other_processes", "0"): [(0, 0), (4, 2), (9, 1)],
            ("gpu_xid", "1"): [(3, 31), (4, 31)],
            ("gpu_lost", "1"): [(5, 1)],
        }
    )
    found = gpu_health(samples)
    assert found == {"0": GpuHealth((), 2, False, 2), "1": GpuHealth((31, 31), None, True, None)}
    assert codes(found) == {"gpu_ecc": "invalid", "gpu_shared": "suspect", "gpu_lost": "invalid", "gpu_xid": "suspect"}
    assert codes({"1": GpuHealth((31, 79))}) == {"gpu_xid": "invalid"}  # fallen off the bus: no program's fault


def test_events_before_stages() -> None:
    process = {"pid": 7, "name": "python", "memory_bytes": 1}
    busy = Event(0, "gpu_busy", "d", {"stage": "c4", "gpu": "GPU 0", "processes": [process, process | {"pid": 8, "name": None}]})
    cooled: dict[str, Any] = {"stage": "c4", "temperature_c": 61, "asked_c": 50, "waited_s": 300.0}
    warm, started = (
        Event(0, "gpu_cooled", "d", cooled | {"reached": False}),
        Event(1, "stage_started", "d", {"name": "c4", "mode": "concurrency", "asked": 4}),
    )
    found = list(health_reasons("d", {}, [busy, warm, started]))
    assert [(one.code, one.stage, one.grade) for one in found] == [("gpu_busy", "c4", "suspect"), ("gpu_warm", "c4", "suspect")]
    assert found[0].figures == {"gpu": "GPU 0", "processes": "7 (python), 8 (?)"}
    assert found[1].figures == {"temperature": "61", "asked": "50"}
    assert codes({}, Event(0, "gpu_cooled", "d", cooled | {"reached": True}), started) == {}
    assert codes({}, warm) == {}  # the wait was broken off: no stage began


def test_errors_that_nobody_watched_are_a_note_only_where_there_are_gpus() -> None:
    def finished(**tally: Any) -> Event:
        return Event(0, "telemetry_finished", "d", {"sources": {"gpu_errors": {"readings": 0, "failures": 0, "last_error": ""} | tally}})

    assert codes({}, finished(failures=9, last_error="NVMLError_NotSupported: Not Supported")) == {"gpu_errors_unwatched": "note"}
    assert codes({}, finished(readings=9)) == {}
    assert codes({}, Event(0, "telemetry_finished", "d", {"sources": {"gpu": {"readings": 0, "failures": 9, "last_error": "?"}}})) == {}


def test_what_was_held_and_put_back() -> None:
    ballast = Event(0, "gpu_ballast", "", {"gpu": 1, "device": "MIG-1", "held_bytes": 5, "free_bytes": 1, "total_bytes": 9})
    other = replace(ballast, data=ballast.data | {"device": "MIG-2", "held_bytes": 2})
    first, second = held_gpus([LOCKED, ballast, other, RESTORED])
    assert (first.gpu, first.settings, first.ballast_bytes, first.put_back) == ("0", {"sm_clock_mhz": 1410}, None, True)
    assert (second.gpu, second.settings, second.ballast_bytes, second.put_back) == ("1", {}, 7, True)
    assert [*held_reasons([first, second])] == []
    assert held_gpus([]) == ()


def test_what_was_not_put_back_is_said() -> None:
    failed = Event(9, "gpu_not_restored", "", {"gpu": 0, "cause": "the GPU is lost"})
    left_by_another = Event(0, "gpu_restored", "", RESTORED.data | {"left_by": 77})
    for events in ([LOCKED], [LOCKED, RESTORED, failed], [left_by_another, LOCKED]):
        assert [(one.code, one.grade) for one in held_reasons(held_gpus(events))] == [("gpu_not_restored", "note")]


def test_a_locked_clock_that_was_not_kept(summary: Summary) -> None:
    stage = summary.deployments[0].stages[0]

    def reasons(mhz: float, asked: int | str = 1410) -> list[str]:
        use = GpuUse(None, None, None, Level(mhz, mhz, mhz), None, None, {})
        held = held_gpus([replace(LOCKED, data=LOCKED.data | {"settings": {"sm_clock_mhz": asked}})])
        return [one.code for one in clock_reasons("d", replace(stage, resources=replace(stage.resources, gpus={"0": use})), held)]

    assert (reasons(1410), reasons(1390), reasons(1380)) == ([], [], ["gpu_clock_not_kept"])
    assert reasons(900, "base") == []  # nobody says how many MHz that is


@pytest.mark.whole_run
def test_a_run_directory_with_a_planted_error(tmp_path: Path) -> None:
    whole = summarise(write_synthetic_run(tmp_path / "whole", gpu=True).run)
    assert (whole.verdict.status, whole.held_gpus) == ("VALID", ())
    run = write_synthetic_run(tmp_path / "planted", gpu=True, kill_in="c4").run
    samples = run.deployments()[1].samples_jsonl
    samples.write_text(json.dumps(sample_row(Sample(S, "gpu_xid", "0", 79.0))) + "\n" + samples.read_text())
    run.append_event(LOCKED)
    summary = summarise(run)
    assert summary.deployments[1].gpu_health["0"].xids == (79,)
    assert {"gpu_xid", "gpu_not_restored"} <= {reason.code for reason in summary.verdict.reasons}
    assert summary.to_json()["held_gpus"][0]["settings"] == {"sm_clock_mhz": 1410}
