"""Every kind of reload of the real server under load: what answered, what failed, which configuration was served, how often it loaded."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from collections import Counter
from typing import Any

import pytest

from tests.experiments.hot_reload.test_on_triton import found_in
from tests.support.command import Command, ran
from tests.support.triton.started_run import MINI, StartRun, outcomes, run_of, the_deployment
from trtbench.experiments.hot_reload.reload_result import ReloadResult
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.records import Outcome

pytestmark = [pytest.mark.triton, pytest.mark.paced, pytest.mark.timeout(200, func_only=True)]

LATE_S = 8
"""The load goes on for so long after the time of the last reload, which other tests on the same cores may make late."""
LOADS = re.compile(r'"loading: ([\w-]+):(\d+)"')


def asked(kinds: list[dict[str, Any]], every_s: float, rate: float = 2, **more: Any) -> dict[str, Any]:
    rounds = 2 if more.get("model_warmup") == "both" else 1
    load = {"mode": "constant", "rate": rate, "duration_s": 2 + every_s * len(kinds) * rounds + LATE_S}
    return {"load": [load], "hot_reload": {"before_s": 2, "every_s": every_s, "reloads": kinds} | more}


def after(command: Command, number: int, model: str = "smollm2-135m") -> dict[str, Any]:
    """The config.pbtxt that the server serves when reload `number` is over."""
    command.wait_for(lambda: any(reload_numbers(command, number)), 100)
    ready = next(event for event in run_of(command).events() if event.kind == "server_ready")
    with urllib.request.urlopen(f"http://{ready.data['http']}/v2/models/{model}/config", timeout=10) as answer:
        return dict(json.load(answer))


def versions_ready(run: RunDirectory) -> list[str]:
    """Asked by number while the server runs: those that answer."""
    address = next(event for event in run.events() if event.kind == "server_ready").data["http"]
    with urllib.request.urlopen(urllib.request.Request(f"http://{address}/v2/repository/index", b"{}"), timeout=10) as answer:
        known = [str(row["version"]) for row in json.load(answer) if row.get("version")]
    return [version for version in sorted(known) if _answers(f"http://{address}/v2/models/smollm2-135m/versions/{version}/ready")]


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except urllib.error.HTTPError:
        return False


def reload_numbers(command: Command, number: int) -> list[bool]:
    if not any(command.directory.glob("runs/*/events.jsonl")):
        return []
    return [event.data["number"] == number for event in run_of(command).events() if event.kind == "reload_finished"]


def engine_of(config: dict[str, Any]) -> str:
    return str(config["parameters"]["engine_dir"]["string_value"])


def delay_us_of(config: dict[str, Any]) -> int:
    return int(config["dynamic_batching"]["max_queue_delay_microseconds"])


def loads(run: RunDirectory) -> list[tuple[str, str]]:
    """(model, version) of every load that the server began, its start's among them."""
    return LOADS.findall((the_deployment(run).path / "server.log").read_text())


def lost_nothing(*ones: ReloadResult) -> bool:
    return not any(set(one.failed) - {"never_sent"} for one in ones)


def test_kinds_that_name_their_target(start_run: StartRun) -> None:
    """From FP16 to INT8 by a new version, another delay under the same number, and an unload that leaves a gap."""
    kinds = [{"kind": "new_version", "to": "int8"}, {"kind": "changed_config", "max_queue_delay_us": 20000}, {"kind": "unload_load"}]
    command = start_run(MINI | asked(kinds, every_s=12) | {"engines": ["fp16"]})
    switched = after(command, 1)
    assert "-int8-" in engine_of(switched) and delay_us_of(switched) == 1000
    assert delay_us_of(after(command, 2)) == 20000
    assert (delay_us_of(after(command, 3)), "-int8-" in engine_of(after(command, 3))) == (20000, True)
    assert ran(command.wait(110), command.directory), command.err
    run = run_of(command)
    switch, changed, gap = found_in(run).reloads
    assert [one.as_meant for one in (switch, changed, gap)] == [True] * 3
    assert lost_nothing(switch, changed) and set(gap.failed) == {"unavailable"}
    assert gap.ttft_spike_ratio is None or 100 * gap.lost <= gap.requests
    assert (switch.version, changed.version, gap.version) == ("2", None, None) and switch.overlap_ns is not None
    assert gap.unload_s is not None and gap.first_answer_ns is not None
    assert set(found_in(run).versions) == {"1", "2"}
    counted = outcomes(the_deployment(run).requests())
    assert set(counted) == {Outcome.COMPLETED, Outcome.UNAVAILABLE} and counted[Outcome.UNAVAILABLE] == gap.lost
    assert loads(run) == [("smollm2-135m", version) for version in "1222"]


def test_found_by_polling(start_run: StartRun) -> None:
    """Each change is one load; a broken version that goes away is one more of what serves, within its reload."""
    kinds = [
        {"kind": "new_version", "to": "fp16"},
        {"kind": "changed_config", "max_queue_delay_us": 20000},
        {"kind": "broken"},
        {"kind": "unload_load"},
    ]
    command = start_run(MINI | asked(kinds, every_s=13, control="poll"))
    assert "-fp16-" in engine_of(after(command, 1))
    assert delay_us_of(after(command, 2)) == 20000
    assert ran(command.wait(150), command.directory), command.err
    run = run_of(command)
    new, changed, broken, gap = found_in(run).reloads
    assert [one.as_meant for one in (new, changed, broken, gap)] == [True] * 4 and {one.control for one in (new, gap)} == {"poll"}
    assert "broken on purpose" in broken.error and broken.served_on == ("2",)
    assert lost_nothing(new, changed, broken) and set(gap.failed) == {"unavailable"}
    assert loads(run) == [("smollm2-135m", version) for version in "122322"]
    restored = [event.data["restored_s"] is not None for event in run.events() if event.kind == "reload_finished"]
    assert restored == [False, False, True, False]


def test_an_encoder_with_warm_up(start_run: StartRun) -> None:
    kinds = [{"kind": "new_version", "to": "int8"}, {"kind": "broken", "broken": "engine"}, {"kind": "blue_green"}]
    workload = {"input_tokens": {"min": 5, "max": 20}, "languages": ["en"]}
    encoder = {"task": "embed", "model": "minilm-l6-v2", "engines": ["fp16"], "workload": workload}
    batched = {"deployments": {"default": {"dynamic_batching": {}, "inference_threads": 1}}}
    named = {key: MINI[key] for key in ("name", "provider", "telemetry")}
    command = start_run(named | encoder | batched | asked(kinds, every_s=6, rate=40, model_warmup=True))
    warmed = after(command, 1, "minilm-l6-v2")
    assert [one["name"] for one in warmed["model_warmup"]] == ["trtbench"] and "-int8-" in engine_of(warmed)
    assert ran(command.wait(110), command.directory), command.err
    run = run_of(command)
    found = found_in(run)
    new, broken, green = found.reloads
    assert [one.as_meant for one in (new, broken, green)] == [True] * 3 and {one.warmup for one in found.reloads} == {True}
    assert broken.served_on == ("2",) and lost_nothing(new, broken, green)
    assert new.before and new.before.ttft_ns.p50 and new.ttft_ns.count and new.itl_ns.count == 0
    assert list(found.versions) == ["1", "2", "4"] and green.drain_s is not None
    assert loads(run) == [*(("minilm-l6-v2", version) for version in "123"), ("minilm-l6-v2-green", "4")]
    text = (run.path / "report.md").read_text()
    assert "Latency in the window" in text and "ITL" not in text.split("## Hot reload")[1].split("\n## ")[0]
    assert Counter(record.outcome for record in the_deployment(run).requests()) == {Outcome.COMPLETED: 40 * (20 + LATE_S)}


def test_a_second_model_found_by_polling_without_and_with_warm_up(start_run: StartRun) -> None:
    """To the second model and back; the one that was left goes with its files."""
    command = start_run(MINI | asked([{"kind": "blue_green"}], every_s=14, control="poll", model_warmup="both"))
    assert after(command, 1, "smollm2-135m-green")["model_warmup"] == []
    assert [one["name"] for one in after(command, 2)["model_warmup"]] == ["trtbench"]
    assert ran(command.wait(110), command.directory), command.err
    run = run_of(command)
    found = found_in(run)
    there, back = found.reloads
    assert [(one.as_meant, one.control, one.warmup, one.version) for one in (there, back)] == [
        (True, "poll", False, "2"),
        (True, "poll", True, "3"),
    ]
    assert lost_nothing(there, back) and None not in (there.drain_s, there.unload_s, back.drain_s, back.unload_s)
    assert there.overlap_ns is back.overlap_ns is None
    assert list(found.versions) == ["1", "2", "3"]
    assert loads(run) == [("smollm2-135m", "1"), ("smollm2-135m-green", "2"), ("smollm2-135m", "3")]
    assert [path.name for path in (the_deployment(run).path / "model_repository").iterdir()] == ["smollm2-135m"]
    assert (run.path / "report.md").read_text().count("(warmed up)")


def test_new_versions_beside_the_ones_before(start_run: StartRun) -> None:
    """Of three versions the last two serve; with each new one the server loads the one that stays once more."""
    kinds = [{"kind": "new_version"}, {"kind": "new_version"}]
    command = start_run(MINI | asked(kinds, every_s=18, version_policy={"latest": 2}))
    assert after(command, 1)["version_policy"] == {"latest": {"num_versions": 2}}
    assert versions_ready(run_of(command)) == ["1", "2"]
    after(command, 2)
    assert versions_ready(run_of(command)) == ["2", "3"]
    assert ran(command.wait(110), command.directory), command.err
    run = run_of(command)
    found = found_in(run)
    first, second = found.reloads
    assert [one.as_meant for one in found.reloads] == [True] * 2 and lost_nothing(first, second)
    assert (first.served_on, second.served_on) == (("1",), ("2",))
    assert list(found.versions) == ["1", "2", "3"]
    assert Counter(version for _, version in loads(run)) == {"1": 2, "2": 2, "3": 1}
