"""`trtbench gpu status`, against the fake driver."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.support.fakes.fake_gpu import MIG_UUIDS, UUIDS, FakeGpus, wait_until

GIB = 1 << 30


def test_json_holds_everything(fake_gpus: FakeGpus) -> None:
    fake_gpus["g0_mig"] = 1
    fake_gpus["g0_throttle"] = 0x4 | 0x40 | 0x1000
    fake_gpus["g1_pid_a"] = os.getpid()
    found = json.loads(fake_gpus.trtbench("gpu", "status", "--json").stdout)
    assert (found["driver"], found["cuda"], found["journals_of_absent_gpus"]) == ("driver 550.54.14", "12.4", [])
    first, second = found["gpus"]
    assert (first["uuid"], first["mig"], first["power_w"], first["ecc_uncorrected"]) == (UUIDS[0], True, 312.5, 0)
    assert first["throttle_reasons"] == ["power_cap", "hw_thermal", "0x1000"]
    assert [(one["uuid"], one["memory_used_bytes"]) for one in first["mig_instances"]] == [(MIG_UUIDS[0], 1 * GIB), (MIG_UUIDS[1], 2 * GIB)]
    assert "utilization_ratio" not in first
    assert "power_w" not in second
    assert [one["pid"] for one in second["processes"]] == [os.getpid()]
    assert second["held"] is None


def test_table_says_what_is_held_and_whether_its_owner_lives(fake_gpus: FakeGpus) -> None:
    process = fake_gpus.start("gpu", "lock", "--device", "0", "--sm-clock", "base")
    wait_until(lambda: fake_gpus["g0_sm_locked_mhz"], "the clock is locked")
    lives = fake_gpus.trtbench("gpu", "status").stdout
    process.kill()
    process.communicate()
    gone = fake_gpus.trtbench("gpu", "status").stdout
    for said in (lives, gone):
        assert f"GPU 0 held: sm_clock_mhz base (before: not known, the default); by process {process.pid}" in said
        assert "1410 / 1980" in said
    assert "which runs" in lives
    assert "which is gone: `trtbench gpu restore` puts it back" in gone
    assert fake_gpus["g0_sm_locked_mhz"] == 1410  # to look changes nothing


@pytest.mark.parametrize("verb", [["status"], ["restore"], ["lock", "--sm-clock", "base"]])
def test_without_a_driver(fake_gpus: FakeGpus, tmp_path: Path, verb: list[str]) -> None:
    done = fake_gpus.trtbench("gpu", *verb, LD_LIBRARY_PATH=str(tmp_path))
    assert done.returncode == 2
    assert "no NVIDIA driver here: no NVIDIA driver library (libnvidia-ml.so.1)" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--sm-clock", "fast"], "sm_clock_mhz"),
        (["--device", "GPU-../../x"], "devices"),
        (["--compute-mode", "exclusive_process", "--ballast", "1"], "lets one process in"),
        (["--ballast", "1", "--leave-free", "1"], "not both"),
        (["--", "no-such-program-here"], "there is no such program"),
    ],
)
def test_flags_that_make_no_sense(fake_gpus: FakeGpus, arguments: list[str], said: str) -> None:
    done = fake_gpus.trtbench("gpu", "lock", *arguments)
    assert done.returncode == 2
    assert said in done.stderr
