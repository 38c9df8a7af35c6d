"""GPU control on a real GPU. Has never run: docs/gpu-status.md. Needs root where it sets something, and changes nothing for good."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.support.fakes.fake_gpu import wait_until
from trtbench.gpu import inventory

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(180)]


@pytest.fixture(autouse=True)
def _a_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not inventory.describe():
        pytest.skip(inventory.probe())
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


def trtbench(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "trtbench.cli.main", "gpu", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def status() -> dict[str, Any]:
    done = trtbench("status", "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout)["gpus"][0])


def test_status_shows_every_fact_of_a_data_centre_gpu() -> None:
    found = status()
    expected = {"uuid", "sm_clock_mhz", "memory_clock_mhz", "power_w", "temperature_c", "persistence_mode", "compute_mode", "ecc"}
    assert sorted(expected - found.keys()) == []
    assert trtbench("status").returncode == 0


@pytest.mark.settings
def test_a_locked_clock_is_run_at_and_put_back_after_kill_9() -> None:
    if os.geteuid() != 0:
        pytest.skip("clocks are root's to lock")
    before = status()
    command = [sys.executable, "-m", "trtbench.cli.main", "gpu", "lock", "--device", "0", "--sm-clock", "base", "--allow-busy"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        wait_until(lambda: process.poll() is not None or status()["held"], "the clock is locked")
        assert process.poll() is None, process.communicate()[1]
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert not status()["held"]["owner_lives"]
    assert trtbench("restore").returncode == 0
    after = status()
    assert after["held"] is None
    kept = ("persistence_mode", "compute_mode", "power_limit_w")
    assert {key: after.get(key) for key in kept} == {key: before.get(key) for key in kept}


@pytest.mark.settings
def test_the_power_limit_is_put_back() -> None:
    if os.geteuid() != 0:
        pytest.skip("power limits are root's to set")
    before = status()["power_limit_w"]
    asked = f"{before - 10:g}"
    show = (sys.executable, "-m", "trtbench.cli.main", "gpu", "status", "--json")
    done = trtbench("lock", "--device", "0", "--power-limit", asked, "--allow-busy", "--", *show)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["gpus"][0]["power_limit_w"] == pytest.approx(before - 10, abs=1)
    assert status()["power_limit_w"] == before


def test_ballast_takes_memory_and_gives_it_back() -> None:
    free = status()["memory_free_bytes"]
    show = (sys.executable, "-m", "trtbench.cli.main", "gpu", "status", "--json")
    done = trtbench("lock", "--device", "0", "--leave-free", "4", "--allow-busy", "--", *show)
    assert done.returncode == 0, done.stderr
    left = json.loads(done.stdout)["gpus"][0]["memory_free_bytes"]
    assert abs(left - (4 << 30)) < 1 << 30  # NVML and CUDA count the driver's own share apart
    wait_until(lambda: abs(status()["memory_free_bytes"] - free) < 1 << 28, "the memory is free again")


def test_the_samplers_series() -> None:
    from trtbench.telemetry.nvml import GpuErrors, Gpus, GpuUsers

    with closing(Gpus()) as source:
        names = {sample.name for sample in source.read()}
        print(source.note)
    assert {"gpu_utilization_ratio", "gpu_power_w", "gpu_energy_j", "gpu_memory_clock_mhz"} <= names
    with closing(GpuUsers([], os.getpid())) as users:
        users.read()
    with closing(GpuErrors()) as errors:
        assert errors.read() == []
