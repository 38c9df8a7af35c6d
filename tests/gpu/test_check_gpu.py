"""scripts/check_gpu.sh over the stand-ins of NVML and CUDA: what it calls of trtbench is there, what it finds is what they are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fakes.fake_gpu import ROOT, FakeGpus, compile_fakes
from trtbench.rundir.lines import read_json

pytestmark = pytest.mark.process

SCRIPT = ROOT / "scripts" / "check_gpu.sh"


def run(environment: dict[str, str], directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Without torch, which takes seconds to import and finds no GPU here; its stand-in cannot be imported."""
    (directory / "no-torch").mkdir(exist_ok=True)
    (directory / "no-torch" / "torch.py").write_text("raise ImportError\n", encoding="utf-8")
    more = {"OUT": str(directory / "out"), "PY": sys.executable, "PYTHONPATH": str(directory / "no-torch"), "SECONDS_OF_LOAD": "0.5"}
    return subprocess.run(["bash", SCRIPT], env=environment | more | variables, capture_output=True, text=True, timeout=250, check=False)


@pytest.fixture(scope="module")
def gpus(tmp_path_factory: pytest.TempPathFactory) -> FakeGpus:
    directory = tmp_path_factory.mktemp("gpus")
    return FakeGpus(compile_fakes(directory), directory)


def test_every_section_runs_and_nothing_is_set(gpus: FakeGpus, tmp_path: Path) -> None:
    before = gpus.settings(0), gpus.settings(1)
    done = run(gpus.environment, tmp_path, SECTIONS="status nvml cuda sampler", FAKE_CUDA_NAME="Fake GPU 0")
    summary = (tmp_path / "out" / "summary.txt").read_text("utf-8")
    assert done.returncode == 0, (tmp_path / "out" / "log.txt").read_text("utf-8")
    assert summary == done.stdout
    assert [line.split(",")[0] for line in summary.splitlines()[1:-1]] == ["ok status", "ok nvml", "ok cuda", "ok sampler"]
    assert "nothing was computed" in summary
    assert summary.splitlines()[-1].startswith("ok settings are as they were: ['GPU-00000000-")
    assert (gpus.settings(0), gpus.settings(1)) == before
    assert gpus["sets"] == 0
    found = read_json(tmp_path / "out" / "nvml.json")
    assert (found["gpu_power_w"], found["read power_limit_mw"]) == ("312.5", "700000")
    assert "value 1000000 " in found["field gpu_energy_j"]


def test_what_does_not_hold_is_said(gpus: FakeGpus, tmp_path: Path) -> None:
    """The stand-in of CUDA has another name than NVML's, and the memory that a process takes is missing for NVML, not to a second one."""
    done = run(gpus.environment, tmp_path, SECTIONS="cuda ballast")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert lines[1].startswith("NOT OK (exit code 1) cuda")
    assert "is Fake GPU by CUDA, Fake GPU 0 by NVML" in lines[1]
    assert lines[2].startswith("NOT OK (exit code 1) ballast")
    assert "--leave-free 1 left 20.00 GiB, exit code 0" in lines[2]
    log = (tmp_path / "out" / "log.txt").read_text("utf-8")
    assert "2.00 GiB free while held" in log and "after kill -9 20.00 of 20.00" in log
    assert "leave 9999 GiB: exit code 2, trtbench: gpu.memory_leave_free_gib" in log


def test_without_a_driver_it_says_what_is_missing(tmp_path: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"}
    done = run(environment, tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "nothing to check: no NVIDIA driver" in done.stderr


def test_without_trtbenchs_packages_it_says_how_to_get_them(gpus: FakeGpus, tmp_path: Path) -> None:
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys._base_executable} -S "$@"\n', encoding="utf-8")  # type: ignore[attr-defined]
    bare.chmod(0o755)
    done = run(gpus.environment, tmp_path, PY=str(bare))
    assert (done.returncode, done.stdout) == (2, "")
    assert "no Python here can import trtbench (ModuleNotFoundError: No module named 'click')" in done.stderr
    assert "make setup" in done.stderr


def test_findings_that_cannot_be_written_are_said(gpus: FakeGpus, tmp_path: Path) -> None:
    done = run(gpus.environment, tmp_path, OUT="/proc/out")
    assert done.returncode == 2
    assert "cannot be written: name another directory with OUT=" in done.stderr
