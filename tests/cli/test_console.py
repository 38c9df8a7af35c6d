from __future__ import annotations

import re
from typing import Any

import pytest
from rich.console import Console as RichConsole

from trtbench.cli.console import Console, _line, load_line, load_share
from trtbench.load.tally import Counts, LoadProgress
from trtbench.rundir.events import content
from trtbench.rundir.records import Event

S = 1_000_000_000


def progress(done: tuple[int, int] = (0, 0), in_flight: int = 0, output_tokens: int = 0, **phase: Any) -> LoadProgress:
    """`done`: completed and failed."""
    return LoadProgress("c4", **phase, counts=Counts(0, in_flight, *done, output_tokens))


@pytest.mark.parametrize(
    ("shown", "at_s", "has"),
    [
        (
            progress(planned=40, done=(10, 0), in_flight=4, output_tokens=200),
            5,
            ["c4 25%, 10/40,", "about 15 s left", "4 in flight", "40 tokens/s"],
        ),
        (progress(planned=8, done=(8, 0), warmup=True), 2, ["c4 warm-up 100%, 8/8", "about 0 s left"]),
        (progress(planned=40), 5, ["c4 0%, 0/40", "no estimate yet"]),
        (progress(ends_ns=100 * S, done=(30, 20), output_tokens=100), 50, ["50", "50 s left", "20 failed"]),
        (progress(ends_ns=10 * S, done=(3, 0)), 30, ["draining"]),
        (progress(planned=0), 0, ["0/0", "no estimate yet", "0 tokens/s"]),
        (progress(planned=4, starts_ns=10 * S, done=(1, 0)), 9, ["1/4"]),
    ],
)
def test_the_live_line(shown: LoadProgress, at_s: int, has: list[str]) -> None:
    line = load_line(shown, at_s * S)
    assert [part for part in has if part not in line] == []
    assert "\n" not in line


def test_the_share_is_of_the_requests_or_of_the_time() -> None:
    assert [load_share(progress(planned=40, done=done), S) for done in [(0, 0), (10, 0), (30, 10)]] == [0, 0.25, 1]
    assert [load_share(progress(starts_ns=10 * S, ends_ns=20 * S), at_s * S) for at_s in (10, 15, 20, 25)] == [0, 0.5, 1, 1]
    assert load_share(progress(planned=0), S) == 0


def test_on_a_terminal_the_load_has_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    """Filled to a quarter of its 12 characters, before the line."""
    console = Console(progress(planned=40, done=(10, 0)))
    console(Event(0, "server_ready", "d", {"seconds": 4.0, "grpc": ""}))
    terminal = RichConsole(force_terminal=True, width=200, color_system="truecolor")
    terminal.print(console._render())
    bar, line = re.sub(r"\x1b\[[^m]*m", "|", capsys.readouterr().out).split(" ", 1)
    filled, *rest = [part for part in bar.split("|") if part]
    assert (len(filled), len("".join(rest))) == (3, 9)
    assert line.startswith("d c4 25%, 10/40")


STAGE = {"name": "c1", "mode": "concurrency", "asked": 1, "planned": 6}
EVENTS = [
    Event(0, "run_started", data={"path": "runs/20260101T000000Z-mini", "scenario": "mini", "command": []}),
    Event(0, "build_step", data={"dtype": "int8", "step": "export"}),
    Event(
        0,
        "engine_built",
        data={
            "dtype": "int8",
            "cached": False,
            "size_bytes": 3 << 20,
            "sha256": "0123456789abcdef",
            "steps": [{"label": "export", "seconds": 12.4}],
        },
    ),
    Event(0, "engine_built", data={"dtype": "fp16", "cached": True, "size_bytes": 6 << 20, "sha256": "fedcba9876543210", "steps": []}),
    Event(0, "plan_drawn", data={"sha256": "0123", "notes": []}),
    Event(0, "plan_drawn", data={"sha256": "0123", "notes": ["chats.json: 3 of the 9 rows drawn were dropped"]}),
    Event(0, "server_starting", "default-int8"),
    Event(0, "server_ready", "default-int8", {"seconds": 4.04, "grpc": "127.0.0.1:1", "http": "", "metrics": ""}),
    Event(0, "stage_started", "default-int8", STAGE),
    Event(0, "reload_finished", "default-int8", {"number": 1, "reload": "broken", "ok": False, "error": "at\nonce", "seconds": 0.84}),
    Event(0, "stage_finished", "default-int8", STAGE | {"start_ns": 0, "end_ns": 3 * S, "ended": "done"}),
    Event(0, "run_resumed", data={"path": "runs/20260101T000000Z-mini", "gap_s": 3.5}),
    Event(0, "attempt_set_aside", "default-int8", {"to": "set-aside/default-int8-1"}),
    Event(0, "race_decided", data={"dtype": "fp16", "drops": {}, "round": 2, "stopped": ["s1", "s2"], "racing": ["s4", "s8"]}),
    Event(0, "race_decided", data={"dtype": "fp16", "drops": {}, "round": 3, "stopped": [], "racing": ["s4", "s8"]}),
    Event(0, "some_other_event", "default-int8", {"x": 1}),
    Event(0, "deployment_finished", "default-int8", {"ended": "done"}),
]
FAULTS = [
    Event(0, "server_lost", "default-int8", {"cause": "Ended by [bold]SIGKILL[/bold]."}),
    Event(0, "interrupted", "default-int8", {"level": 1}),
    Event(0, "interrupted", "default-int8", {"level": 2}),
    Event(0, "load_stopped", "default-int8", {"why": "server_lost", "stage": "c1", "stages_not_run": []}),
    Event(0, "deployment_skipped", "default-fp16", {"reason": "interrupted"}),
]


def printed(capsys: pytest.CaptureFixture[str], quiet: bool) -> list[str]:
    progress = LoadProgress()
    with Console(progress, quiet) as console:
        for event in EVENTS + FAULTS:
            console(event)
    captured = capsys.readouterr()
    assert captured.out == ""  # standard output is for results
    return captured.err.splitlines()


FAULT_LINES = [
    "default-int8: the server is lost. Ended by [bold]SIGKILL[/bold].",  # not markup
    "Interrupted: waiting for requests in flight; a second interrupt stops immediately",
    "Interrupted: stopping now",
    "default-int8: load ended early (server_lost) in stage c1",
    "default-fp16: not run (interrupted)",
]


def test_without_a_terminal_there_is_a_line_for_what_is_done(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, quiet=False) == [
        "Run directory runs/20260101T000000Z-mini",
        "Engine int8: 3 MiB, built in 12 s, hash 0123456789ab",
        "Engine fp16: 6 MiB, from the cache, hash fedcba987654",
        "chats.json: 3 of the 9 rows drawn were dropped",
        "default-int8: server ready after 4.0 s, gRPC 127.0.0.1:1",
        "default-int8: reload 1, broken: did not load (at once) after 0.8 s",
        "default-int8 c1: 6 requests in 3.0 s",
        "Run directory runs/20260101T000000Z-mini",
        "default-int8: is run again; earlier results are kept in set-aside/default-int8-1",
        "fp16, round 2: no more of s1, s2; 2 cells continue",
        *FAULT_LINES,
    ]


def test_quiet_shows_faults_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, quiet=True) == FAULT_LINES


def test_long_work_is_reported_every_ten_seconds_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("trtbench.cli.console._PLAIN_INTERVAL_S", 0.02)
    progress = LoadProgress()
    with Console(progress) as console:
        console(EVENTS[1])
        for _ in range(200):
            if capsys.readouterr().err.startswith("int8: export ... 0 s\n"):
                break
            console._ended.wait(0.02)
        else:
            pytest.fail("no line came")
        console(EVENTS[2])


@pytest.mark.parametrize(
    ("ok", "error", "has"),
    [
        (True, "", "blue_green: loaded after 3.0 s"),
        (True, "m is still served", "blue_green: loaded, but did not end as requested (m is still served) after 3.0 s"),
        (False, "no such\nfile", "blue_green: did not load (no such file) after 3.0 s"),
    ],
)
def test_a_reload_that_loaded_and_yet_failed_says_so(ok: bool, error: str, has: str) -> None:
    data = {"number": 1, "reload": "blue_green", "ok": ok, "error": error, "seconds": 3.0}
    assert _line("d", content(Event(0, "reload_finished", "d", data))) == f"d: reload 1, {has}"


@pytest.mark.parametrize(
    ("temperature_c", "reached", "has"),
    [
        (48, True, "c1: GPUs at 48 \u00b0C after 7 s"),
        (60, False, "c1: GPUs at 60 \u00b0C after 7 s, still warm"),
        (None, False, "c1: no GPU reports its temperature, so there was no wait"),
    ],
)
def test_how_warm_the_gpus_are_is_said_where_it_is_known(temperature_c: int | None, reached: bool, has: str) -> None:
    data = {"stage": "c1", "temperature_c": temperature_c, "asked_c": 50, "waited_s": 7.0, "reached": reached}
    assert _line("d", content(Event(0, "gpu_cooled", "d", data))) == has
