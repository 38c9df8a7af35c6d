"""A run that holds GPUs: the real Triton on the CPU, the fake driver beside it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.command import ROOT
from tests.support.fakes.fake_gpu import FakeGpus, wait_until
from tests.support.triton.started_run import LONG, MINI
from trtbench.engine.spec import Engine
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.lines import read_json
from trtbench.scenario.parts.choices import Dtype
from trtbench.serving.server.installation import TritonInstallation

GPU = {"devices": [0], "sm_clock_mhz": 1410, "power_limit_w": 500, "cool_down": {"temperature_c": 60}, "memory_ballast_gib": 2}


def start(gpus: FakeGpus, tmp_path: Path, scenario: dict[str, object]) -> subprocess.Popen[str]:
    (tmp_path / "scenario.yaml").write_text(yaml.safe_dump(scenario | {"gpu": GPU}))
    (tmp_path / "engines").mkdir()
    (tmp_path / "engines" / "built").symlink_to(ROOT / "engines" / "built")
    return gpus.start("serve-and-bench", str(tmp_path / "scenario.yaml"), "--runs", str(tmp_path / "runs"), cwd=tmp_path)


def run_of(tmp_path: Path) -> RunDirectory:
    (path,) = (tmp_path / "runs").iterdir()
    return RunDirectory.open(path)


@pytest.mark.triton
@pytest.mark.timeout(150, func_only=True)
def test_a_run_holds_samples_and_puts_back(
    fake_gpus: FakeGpus, tmp_path: Path, installation: TritonInstallation, engines: dict[Dtype, Engine]
) -> None:
    fake_gpus["g0_cools_by_c"] = 1
    process = start(fake_gpus, tmp_path, MINI)
    wait_until(lambda: fake_gpus["g0_sm_locked_mhz"] == 1410 or process.poll() is not None, "the clock is locked")
    _, said = process.communicate(timeout=140)
    assert process.returncode == 0, said
    assert (fake_gpus["g0_sm_locked_mhz"], fake_gpus["g0_power_limit_mw"]) == (0, 700_000)
    run = run_of(tmp_path)
    kinds = [event.kind for event in run.events()]
    assert kinds.index("gpu_locked") < kinds.index("gpu_ballast") < kinds.index("server_ready") < kinds.index("gpu_cooled")
    assert kinds.index("gpu_restored") == len(kinds) - 2  # before run_finished
    samples = run.deployments()[0].samples()
    assert set(samples.series("gpu_sm_clock_mhz", "0")[1]) == {1410.0}
    summary = read_json(run.path / "summary.json")
    assert summary["held_gpus"][0]["put_back"]
    assert summary["held_gpus"][0]["ballast_bytes"] == 2 << 30
    codes = [reason["code"] for reason in summary["verdict"]["reasons"]]
    assert "gpu_power_cap" in codes
    assert "gpu_clock_not_kept" not in codes
    assert "power cap" in (run.path / "report.md").read_text()


@pytest.mark.triton
@pytest.mark.timeout(150, func_only=True)
def test_killed_under_load_and_put_back_by_the_next_run(
    fake_gpus: FakeGpus, tmp_path: Path, installation: TritonInstallation, engines: dict[Dtype, Engine]
) -> None:
    fake_gpus["g0_temperature_c"] = 50
    process = start(fake_gpus, tmp_path, LONG)
    wait_until(lambda: list((tmp_path / "runs").glob("*/*/requests-0.jsonl")) or process.poll() is not None, "the load runs")
    process.kill()
    process.communicate()
    assert fake_gpus["g0_sm_locked_mhz"] == 1410
    second = fake_gpus.trtbench("bench", "--url", "127.0.0.1:9", "--model", "none")
    assert "GPU 0: restored" in second.stderr
    assert f"left by process {process.pid}" in second.stderr
    assert (fake_gpus["g0_sm_locked_mhz"], fake_gpus["g0_power_limit_mw"]) == (0, 700_000)


def test_refused_before_anything_is_spent(fake_gpus: FakeGpus, tmp_path: Path) -> None:
    scenario = json.loads(json.dumps(MINI)) | {"gpu": {"sm_clock_mhz": 1400}}
    (tmp_path / "scenario.yaml").write_text(yaml.safe_dump(scenario))
    done = fake_gpus.trtbench("serve-and-bench", str(tmp_path / "scenario.yaml"), "--runs", str(tmp_path / "runs"))
    assert done.returncode == 2
    assert "the nearest is 1410" in done.stderr
    assert not (tmp_path / "runs").exists()
