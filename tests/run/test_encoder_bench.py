"""`trtbench bench --task embed` on a server that is not ours: the fake one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from click.testing import CliRunner, Result

from tests.support.command import ran
from trtbench.cli.main import main
from trtbench.client.kserve.encoder import EncoderTensors
from trtbench.client.kserve.target import KserveTarget
from trtbench.plan.plan import Phase, Plan, PlannedPrompt, StagePlan
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.lines import read_json
from trtbench.rundir.records import Outcome
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.parts.part import ScenarioError

pytestmark = pytest.mark.timeout(100)


def bench(url: str, model: str, runs: Path, *flags: str) -> Result:
    address = ("--url", url, "--model", model, "--artifact-dir", str(runs))
    shape = ("--isl", "5:40", "--concurrency", "2", "--request-count", "20", "--warmup-request-count", "2", "--vocab-size", "1000")
    with patch("trtbench.report.figures.plots.draw", return_value={}):
        return CliRunner().invoke(main, ["bench", *address, "--task", "embed", *shape, *flags], catch_exceptions=False)


@pytest.mark.parametrize("model", ["encoder", "encoder_padded"])
def test_a_whole_run(fake_server: Any, tmp_path: Path, model: str) -> None:
    done = bench(fake_server.url, model, tmp_path / "runs", "--goodput", "e2e:60000")
    assert ran(done.exit_code, tmp_path), done.stderr
    (path,) = (tmp_path / "runs").iterdir()
    run = RunDirectory.open(path)
    (deployment,) = run.deployments()
    records = deployment.requests()
    assert len(records) == 22 and {record.outcome for record in records} == {Outcome.COMPLETED}
    assert all(record.done_lag_ns is not None for record in records)
    longest = max(record.input_tokens for record in records)
    pads = model == "encoder_padded"
    assert read_json(deployment.path / "deployment.json")["padded_to_tokens"] == (longest if pads else None)
    notes = next(event.data["notes"] for event in run.events() if event.kind == "plan_drawn")
    assert notes == ([f"every input is padded to {longest} tokens: {model} batches equal shapes only"] if pads else [])
    assert (f"padded to {longest} tokens" in (path / "report.md").read_text()) == pads
    summary = json.loads((path / "summary.json").read_text())
    assert summary["deployments"][0]["stages"][0]["throughput"]["goodput_ratio"] == 1.0


def finished(run: RunDirectory) -> dict[str, Any]:
    (data,) = [event.data for event in run.events() if event.kind == "stage_finished"]
    return data


@pytest.mark.parametrize("model", ["encoder", "encoder_counts_late"])
def test_a_stage_has_all_its_requests_in_the_servers_statistics(start_fake_server: Any, tmp_path: Path, model: str) -> None:
    """Those of the warm-up are not among them, although they too are counted late."""
    done = bench(start_fake_server(10, 2).url, model, tmp_path / "runs")
    assert ran(done.exit_code, tmp_path), done.stderr
    (path,) = (tmp_path / "runs").iterdir()
    (deployment,) = json.loads((path / "summary.json").read_text())["deployments"]
    assert deployment["stages"][0]["triton_batching"]["inferences"] == 20
    data = finished(RunDirectory.open(path))
    assert data["not_counted"] == 0 and data["counted_from_ns"] < data["start_ns"] < data["end_ns"] < data["counted_to_ns"]


def test_a_server_that_counts_nothing_is_recorded_as_that(start_fake_server: Any, tmp_path: Path) -> None:
    done = bench(start_fake_server(10, 2).url, "encoder_counts_none", tmp_path / "runs")
    assert ran(done.exit_code, tmp_path), done.stderr
    (path,) = (tmp_path / "runs").iterdir()
    assert finished(RunDirectory.open(path))["not_counted"] == 20


def test_flags_of_generation_are_refused(fake_server: Any, tmp_path: Path) -> None:
    for flags, key in (
        (("--osl", "9"), "--osl"),
        (("--goodput", "ttft:9"), "--goodput ttft"),
        (("--no-streaming",), "streaming"),
    ):
        done = bench(fake_server.url, "encoder", tmp_path / "runs", *flags)
        assert done.exit_code == 2 and key in done.stderr, done.stderr
    assert not (tmp_path / "runs").exists()


def plan_of(*lengths: int) -> Plan:
    stage = Stage(concurrency=1, requests=len(lengths))
    prompts = tuple(PlannedPrompt(np.ones(length, np.int32), 0, 0) for length in lengths)
    return Plan((StagePlan(stage, Phase(stage, True, (), 0, None), Phase(stage, False, prompts, 0, None)),))


def target_of(**tensors: Any) -> KserveTarget:
    inputs = tensors.pop("inputs", {"input_ids": "INT64", "attention_mask": "INT64"})
    encoder = EncoderTensors(inputs, "embedding", "FP32", 4, **{"ragged": False, **tensors})
    return KserveTarget("127.0.0.1:1", "m", "", 8, "2.51.0", frozenset(inputs), frozenset({"embedding"}), encoder=encoder)


def pad_of(target: KserveTarget, plan: Plan) -> tuple[int, str]:
    found, note = target.padded(plan.longest_input_tokens)
    assert found.encoder
    return found.encoder.pad_tokens, note


def test_padding_goes_to_the_plans_longest() -> None:
    assert pad_of(target_of(), plan_of(5, 90, 7))[0] == 90
    assert pad_of(target_of(ragged=True), plan_of(5, 90, 7)) == (0, "")


def test_without_a_mask_nothing_is_padded() -> None:
    pad, note = pad_of(target_of(inputs={"input_ids": "INT32"}), plan_of(5, 90))
    assert pad == 0 and "only requests of equal length share a batch" in note


def test_a_fixed_shape_is_kept_and_bounds_the_load() -> None:
    assert pad_of(target_of(pad_tokens=128), plan_of(5, 90))[0] == 128
    with pytest.raises(ScenarioError, match="a request has 129 tokens, model 'm' takes 128"):
        target_of(pad_tokens=128).padded(plan_of(129).longest_input_tokens)
