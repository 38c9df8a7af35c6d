"""Settings are held and always put back: `trtbench gpu lock`, against the fake driver, in processes of their own."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from typing import Any

import pytest

from tests.support.fakes.fake_gpu import UUIDS, FakeGpus, wait_until

LOCK = ("gpu", "lock", "--device", "0", "--sm-clock", "1410", "--memory-clock", "2619", "--power-limit", "500", "--persistence")
LOCK += ("--compute-mode", "exclusive_process")
BEFORE = {"persistence": 0, "compute_mode": 0, "power_limit_mw": 700_000, "sm_locked_mhz": 0, "memory_locked_mhz": 0}
HELD = {"persistence": 1, "compute_mode": 3, "power_limit_mw": 500_000, "sm_locked_mhz": 1410, "memory_locked_mhz": 2619}


def locked(gpus: FakeGpus, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    process = gpus.start(*LOCK, *arguments, **variables)
    wait_until(lambda: gpus.settings() == HELD or process.poll() is not None, "the settings are held")
    assert process.poll() is None, process.communicate()[1]
    return process


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=30)
    return process.returncode, said


def journal(gpus: FakeGpus) -> dict[str, Any]:
    return json.loads((gpus.journals / f"{UUIDS[0]}.json").read_text())


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_put_back_after_a_signal(fake_gpus: FakeGpus, signum: signal.Signals, code: int) -> None:
    before = signal.signal(signum, signal.default_int_handler)  # under nohup these tests ignore SIGHUP, and what they start would too
    try:
        process = locked(fake_gpus)
    finally:
        signal.signal(signum, before)
    process.send_signal(signum)
    assert ended(process)[0] == code
    assert fake_gpus.settings() == BEFORE
    assert list(fake_gpus.journals.glob("*.json")) == []


def test_the_journal_holds_what_was_before_and_who_holds_it(fake_gpus: FakeGpus) -> None:
    fake_gpus["g0_power_limit_mw"] = 650_000
    process = locked(fake_gpus)
    found = journal(fake_gpus)
    assert found["owner"]["pid"] == process.pid
    assert {one["kind"]: one["previous"] for one in found["held"]} == {
        "persistence_mode": 0,
        "compute_mode": 0,
        "power_limit_mw": 650_000,
        "memory_clock_mhz": None,
        "sm_clock_mhz": None,
    }
    process.terminate()
    ended(process)
    assert fake_gpus.settings() == BEFORE | {"power_limit_mw": 650_000}


def test_put_back_when_the_command_ends_with_its_exit_code(fake_gpus: FakeGpus) -> None:
    code = "import os, sys; sys.path.insert(0, 'tests'); sys.exit(7)"
    done = fake_gpus.trtbench(*LOCK, "--", sys.executable, "-c", code)
    assert done.returncode == 7
    assert "GPU 0: set persistence_mode 1" in done.stderr
    assert "GPU 0: restored" in done.stderr
    assert fake_gpus.settings() == BEFORE


def test_put_back_when_the_block_raises(fake_gpus: FakeGpus) -> None:
    code = """
from trtbench.gpu.control import held
from trtbench.rundir.events import event_of
from trtbench.scenario.deployment.gpu_settings import GpuControl
events = []
try:
    with held(GpuControl(sm_clock_mhz="base", power_limit_w=400, devices=[0]), lambda data: events.append(event_of(0, data).kind)):
        raise ZeroDivisionError
except ZeroDivisionError:
    pass
events
"""
    assert fake_gpus.ask(code) == ["gpu_locked", "gpu_restored"]
    assert fake_gpus.settings() == BEFORE


def kill(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.communicate()


def test_killed_and_put_back_by_restore(fake_gpus: FakeGpus) -> None:
    kill(locked(fake_gpus))
    assert fake_gpus.settings() == HELD
    done = fake_gpus.trtbench("gpu", "restore")
    assert done.returncode == 0, done.stderr
    assert "left by process" in done.stderr
    assert fake_gpus.settings() == BEFORE
    assert list(fake_gpus.journals.glob("*.json")) == []
    assert fake_gpus.trtbench("gpu", "restore").stderr == ""


def test_killed_and_put_back_by_the_next_lock(fake_gpus: FakeGpus) -> None:
    kill(locked(fake_gpus))
    assert fake_gpus.trtbench("gpu", "lock", "--device", "0", "--power-limit", "300", "--", "true").returncode == 0
    assert fake_gpus.settings() == BEFORE


@pytest.mark.parametrize("number", range(1, 6))
def test_killed_inside_the_nth_setting(fake_gpus: FakeGpus, number: int) -> None:
    tried = 5  # calls by which the preflight finds out whether it may
    fake_gpus["kill_at_set"] = tried + number
    process = fake_gpus.start(*LOCK)
    assert ended(process)[0] == -signal.SIGKILL
    assert len(journal(fake_gpus)["held"]) == 5  # on disk before anything was changed
    assert fake_gpus.trtbench("gpu", "restore").returncode == 0
    assert fake_gpus.settings() == BEFORE


def test_a_second_lock_is_refused_and_names_the_first(fake_gpus: FakeGpus) -> None:
    process = locked(fake_gpus)
    try:
        done = fake_gpus.trtbench("gpu", "lock", "--device", "0", "--power-limit", "300", "--", "true")
        assert done.returncode == 2
        assert f"is held by process {process.pid}" in done.stderr
        restore = fake_gpus.trtbench("gpu", "restore")
        assert restore.returncode == 1
        assert "which runs: stop it" in restore.stderr
        assert fake_gpus.settings() == HELD
        assert fake_gpus.trtbench("gpu", "lock", "--device", "1", "--sm-clock", "345", "--", "true").returncode == 0
    finally:
        process.terminate()
        ended(process)


def test_what_may_not_be_changed_is_refused_before_anything_is(fake_gpus: FakeGpus) -> None:
    done = fake_gpus.trtbench(*LOCK, FAKE_NVML_FAIL="nvmlDeviceSetPowerManagementLimit=4")
    assert done.returncode == 2
    assert "power_limit_mw cannot be set" in done.stderr
    assert "--cap-add SYS_ADMIN" in done.stderr
    assert fake_gpus.settings() == BEFORE
    assert list(fake_gpus.journals.glob("*.json")) == []


def test_a_setting_that_fails_takes_back_those_before_it(fake_gpus: FakeGpus) -> None:
    done = fake_gpus.trtbench(*LOCK, FAKE_NVML_FAIL="nvmlDeviceSetGpuLockedClocks=3")
    assert done.returncode == 2
    assert "sm_clock_mhz cannot be set: this GPU or driver does not have it" in done.stderr
    assert "could not be restored" not in done.stderr
    assert fake_gpus.settings() == BEFORE
    assert list(fake_gpus.journals.glob("*.json")) == []


def test_what_cannot_be_put_back_stays_in_the_journal(fake_gpus: FakeGpus) -> None:
    done = fake_gpus.trtbench(*LOCK, "--", "true", FAKE_NVML_FAIL="nvmlDeviceResetGpuLockedClocks=999")
    assert "GPU 0 could not be restored" in done.stderr
    assert done.returncode == 1
    assert [one["kind"] for one in journal(fake_gpus)["held"]] == ["sm_clock_mhz"]
    assert fake_gpus.settings() == BEFORE | {"sm_locked_mhz": 1410}
    assert fake_gpus.trtbench("gpu", "restore").returncode == 0
    assert fake_gpus.settings() == BEFORE


def test_a_user_who_may_not_restore_gets_an_error(fake_gpus: FakeGpus) -> None:
    kill(locked(fake_gpus))
    refused = ",".join(f"nvmlDevice{name}=4" for name in ("SetPowerManagementLimit", "SetComputeMode", "SetPersistenceMode"))
    done = fake_gpus.trtbench("gpu", "restore", FAKE_NVML_FAIL=refused)
    assert done.returncode == 2
    assert "not every setting that process" in done.stderr and "could be restored" in done.stderr
    assert len(journal(fake_gpus)["held"]) == 3


def test_a_journal_of_another_machines_gpu_is_left_alone(fake_gpus: FakeGpus) -> None:
    kill(locked(fake_gpus))
    path = fake_gpus.journals / f"{UUIDS[0]}.json"
    elsewhere = fake_gpus.journals / "GPU-99999999-0000-0000-0000-000000000000.json"
    elsewhere.write_text(path.read_text().replace(UUIDS[0], elsewhere.stem))
    assert fake_gpus.trtbench("gpu", "restore").returncode == 0
    assert not path.exists()
    assert elsewhere.exists()
    assert "is not in this machine" in fake_gpus.trtbench("gpu", "status").stdout
    on_a_cpu = fake_gpus.trtbench("bench", "--url", "127.0.0.1:9", "--model", "none", LD_LIBRARY_PATH="")
    assert "NVIDIA" not in on_a_cpu.stderr


def test_a_torn_journal_is_named_and_nothing_is_touched(fake_gpus: FakeGpus) -> None:
    kill(locked(fake_gpus))
    (fake_gpus.journals / f"{UUIDS[0]}.json").write_text('{"uuid":')
    done = fake_gpus.trtbench("gpu", "restore")
    assert done.returncode == 2
    assert "restore the GPU's settings with nvidia-smi" in done.stderr
    assert fake_gpus.settings() == HELD


def test_a_lost_gpu_leaves_its_journal(fake_gpus: FakeGpus) -> None:
    process = locked(fake_gpus)
    fake_gpus["g0_calls_left"] = 0
    process.terminate()
    code, said = ended(process)
    assert code == 143
    assert "the GPU is lost" in said
    assert len(journal(fake_gpus)["held"]) == 5


def test_without_a_place_for_the_journal_nothing_is_touched(fake_gpus: FakeGpus) -> None:
    fake_gpus.journals.parent.mkdir(parents=True)
    fake_gpus.journals.write_text("a file where the directory should be")
    done = fake_gpus.trtbench(*LOCK, "--", "true")
    assert done.returncode == 2
    assert "GPU settings are not changed without it" in done.stderr
    assert fake_gpus.settings() == BEFORE
