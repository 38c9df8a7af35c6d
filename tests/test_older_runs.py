"""A run directory that an older version wrote is reported, whatever bounds and names a new run has to keep by now."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from tests.support.records import MS, S, request_of
from tests.support.runs.written_run import Served, window, write_run
from trtbench.analysis.summary import Summary, summarise
from trtbench.cli.main import main
from trtbench.report.kit.words import Words
from trtbench.report.sections.sections import document
from trtbench.rundir.directory import RunDirectory
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import load_scenario, parse_scenario
from trtbench.scenario.scenario import Scenario

pytestmark = pytest.mark.whole_run

HUGE = 10**12
"""Over the upper bound of every number that is not a ratio, and under 2^63."""
BASE: dict[str, Any] = {"name": "x", "engines": ["int8"], "load": [{"concurrency": 1, "requests": 40}]}
OVER: dict[str, dict[str, Any]] = {
    "load": {"load": [{"concurrency": HUGE, "duration_s": 1e12, "requests": HUGE, "warmup_requests": HUGE, "name": "c1"}]},
    "open loop": {"load": [{"mode": "gamma", "rate": 1e-9, "burstiness": 1e-9, "requests": HUGE, "name": "c1"}]},
    "ramp": {"load": [{"concurrency": {"from": 0, "to": HUGE, "steps": HUGE}, "duration_s": 1e12, "name": "c1"}]},
    "lengths": {"workload": {"input_tokens": {"min": 1, "max": HUGE}, "output_tokens": {"median": 1e12, "sigma": 11.0, "max": HUGE}}},
    "workload": {
        "workload": {
            "prefix": {"groups": HUGE, "tokens": HUGE, "zipf": 1e6},
            "sessions": {"turns": {"min": 1, "max": HUGE}, "think_s": {"mean": 1e12}},
            "sampling": {"temperature": 1e12, "top_k": HUGE},
            "distinct_prompts": HUGE,
        }
    },
    "deployment": {"deployments": {"default": {"max_batch_size": HUGE, "instances": HUGE, "inference_threads": HUGE}}},
    "build": {"build": {"max_batch_size": HUGE, "max_seq_len": HUGE, "tp": HUGE, "calibration_samples": HUGE}},
    "client": {
        "client": {
            "transport": "grpc",
            "streams_per_connection": HUGE,
            "keepalive_s": 1e-9,
            "retry_delay_s": 1e12,
            "channel_options": {"x": HUGE},
        }
    },
    "rest": {
        "purpose": "p" * 20_000,
        "slo": {"ttft_ms": 1e-9, "tpot_ms": 1e300},
        "stop": {"timeout_s": 1e12, "drain_s": 1e12, "stability": {"windows": HUGE, "window_s": 1e12}},
        "telemetry": {"interval_ms": HUGE},
        "seeds": {"arrivals": 2**100, "prompts": -(2**100)},
        "gpu": {"sm_clock_mhz": HUGE, "power_limit_w": 1e12, "cool_down": {"temperature_c": 50, "timeout_s": 1e12}},
    },
    "reload": {
        "load": [{"mode": "constant", "rate": 5, "duration_s": 1e11, "name": "c1"}],
        "hot_reload": {
            "reloads": [{"kind": "unload_load"}],
            "every_s": 1e7,
            "before_s": 1e7,
            "repeats": 2000,
            "max_spike": 1e12,
            "poll_s": HUGE,
        },
    },
    "names": {"deployments": {"default": {}, "default-int8": {}, "plots": {}, "requests-0.jsonl": {}}},
}
EXPANDED: dict[str, dict[str, Any]] = {
    "scaling": {
        "load": [{"concurrency": 60_000, "requests": 90_000_000, "name": "c1"}],
        "scaling": {"instances": [1, 2, 5000], "load": "per_unit"},
    },
    "grid": {"grid": {"max_batch_size": [8, HUGE], "max_queue_delay_us": [0, 10**15], "repeats": 1}},
    "large grid": {"grid": {"max_batch_size": [*range(1, 1002)], "repeats": 1}},
}


def written(path: Path, tree: dict[str, Any]) -> Path:
    """A run of `BASE`, with the scenario in its place that an older version took."""
    records = [request_of(i * 50 * MS, [(i * 50 + 20 + 5 * n) * MS for n in range(4)], index=i, stage="c1") for i in range(40)]
    write_run(path, parse_scenario(BASE, "x"), Served(records, [window("c1", 0, 3 * S, 40)]))
    (path / "scenario.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def reported(path: Path) -> Summary:
    summary = summarise(RunDirectory.open(path))
    json.dumps(summary.to_json())
    document(summary, Words("en", summary.scenario.task), ())
    return summary


@pytest.mark.parametrize("key", [*OVER, *EXPANDED])
def test_bounds_that_came_later_do_not_keep_a_run_from_being_reported(tmp_path: Path, key: str) -> None:
    path = written(tmp_path / "run", BASE | (OVER | EXPANDED)[key])
    with pytest.raises(ScenarioError):
        load_scenario(path / "scenario.yaml")
    summary = reported(path)
    assert len(summary.deployments) == 1
    assert (path / "scenario.yaml").write_text(summary.scenario.dump(), encoding="utf-8")
    assert reported(path).scenario == summary.scenario


def test_a_point_of_a_scaling_is_reported_over_the_bound_of_users(tmp_path: Path) -> None:
    scenario = reported(written(tmp_path / "run", BASE | EXPANDED["scaling"])).scenario
    (stage,) = scenario.load_of(next(name for name in scenario.deployments if name.startswith("instances-5000")))
    assert (stage.concurrency, stage.requests) == (300_000_000, 450_000_000_000)


def test_text_that_is_no_longer_taken_is_reported(tmp_path: Path) -> None:
    reported(written(tmp_path / "run", BASE | {"purpose": "bell \x07 and override \u202e"}))


@pytest.mark.parametrize(("tree", "told"), [({"load": [{"concurrency": 0, "requests": 1}]}, "concurrency"), ({"lode": 1}, "lode")])
def test_what_no_version_took_is_still_refused(tmp_path: Path, tree: dict[str, Any], told: str) -> None:
    with pytest.raises(ScenarioError, match=told):
        reported(written(tmp_path / "run", BASE | tree))


def test_a_run_does_not_begin_with_names_that_conflict(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(BASE | {"deployments": {"a": {}, "a-int8": {}}}))
    for more in ([], ["--dry-run"]):
        result = CliRunner().invoke(main, ["serve-and-bench", str(path), "--runs", str(tmp_path / "runs"), *more])
        assert result.exit_code == 2
        assert "deployments" in result.stderr and "a-int8" in result.stderr and "rename one of them" in result.stderr
    assert not (tmp_path / "runs").exists()


def test_two_deployments_whose_names_conflict_are_reported(tmp_path: Path) -> None:
    records = [request_of(i * 50 * MS, [(i * 50 + 20) * MS], index=i, stage="c1") for i in range(4)]
    tree = parse_scenario(BASE | {"deployments": {"a": {}, "b": {}}}, "x")
    served = Served(records, [window("c1", 0, S, 4)], deployment="a")
    path = tmp_path / "run"
    older = tree.model_copy(update={"deployments": {"a": tree.deployments["a"], "a-int8": tree.deployments["b"]}})
    write_run(path, older, served, replace(served, deployment="a-int8"))
    assert [result.name for result in reported(path).deployments] == ["a-int8", "a-int8-int8"]
    assert isinstance(summarise(RunDirectory.open(path)).scenario, Scenario)
