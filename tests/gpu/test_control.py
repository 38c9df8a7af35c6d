"""Ballast, idle check and cool-down, against the fake drivers."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.fakes.fake_gpu import UUIDS, FakeGpus, wait_until

MIB = 1 << 20
UNSEEN_PID = 2**22 - 1  # the highest that Linux gives
HELD = """
import asyncio
from trtbench.gpu.control import held
from trtbench.rundir.events import event_of
from trtbench.scenario.deployment.gpu_settings import GpuControl
events = []
def hold(stopped=lambda: False, **asked):
    def tell(data):
        event = event_of(0, data)
        events.append([event.kind, event.data])
    with held(GpuControl(devices=[0], **asked), tell) as gpus:
        asyncio.run(gpus.before_stage(tell, "c4", stopped))
    return events
"""


def events(gpus: FakeGpus, call: str, **variables: str) -> list[tuple[str, dict[str, Any]]]:
    return [(kind, data) for kind, data in gpus.ask(HELD + call, **variables)]


def test_ballast_of_a_size(fake_gpus: FakeGpus) -> None:
    (event,) = events(fake_gpus, "hold(memory_ballast_gib=2.5)")
    held = {"held_bytes": 2560 * MIB, "free_bytes": (20480 - 2560) * MIB, "total_bytes": 81920 * MIB}
    assert event == ("gpu_ballast", {"gpu": 0, "device": UUIDS[0]} | held)


def test_ballast_by_what_it_leaves_in_pieces(fake_gpus: FakeGpus) -> None:
    (event,) = events(fake_gpus, "hold(memory_leave_free_gib=3)", FAKE_CUDA_PIECE_MIB="100")
    assert (event[1]["held_bytes"], event[1]["free_bytes"]) == (17 * 1024 * MIB, 3 * 1024 * MIB)


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"FAKE_CUDA_FREE_MIB": "1024"}, "GPU 0 had 1.00 GiB free, 2 GiB are requested"),
        ({"FAKE_CUDA_INIT": "100"}, "no memory could be held on GPU 0: cuInit failed (CUresult 100)"),
        ({"FAKE_CUDA_PIECE_MIB": "1"}, "0.00 GiB could be held"),
    ],
)
def test_ballast_that_cannot_be_had(fake_gpus: FakeGpus, variables: dict[str, str], said: str) -> None:
    done = fake_gpus.python(HELD + "hold(memory_ballast_gib=2)", **variables)
    assert "GpuError: gpu.memory_ballast_gib: " in done.stderr
    assert said in done.stderr


def test_ballast_without_cuda(fake_gpus: FakeGpus, fake_driver: Path, tmp_path: Path) -> None:
    (tmp_path / "nvml").mkdir()
    (tmp_path / "nvml" / "libnvidia-ml.so.1").symlink_to(fake_driver / "libnvidia-ml.so.1")
    done = fake_gpus.python(HELD + "hold(memory_ballast_gib=2)", LD_LIBRARY_PATH=str(tmp_path / "nvml"))
    assert "there is no CUDA driver (libcuda.so.1)" in done.stderr


def test_ballast_goes_when_its_parent_is_killed(fake_gpus: FakeGpus) -> None:
    process = fake_gpus.start("gpu", "lock", "--device", "0", "--ballast", "2")
    children: list[psutil.Process] = []

    def there() -> bool:
        children[:] = [child for child in psutil.Process(process.pid).children() if "trtbench.gpu" in child.cmdline()]
        return bool(children)

    wait_until(there, "the ballast is there")
    process.kill()
    process.communicate()
    wait_until(lambda: not children[0].is_running() or children[0].status() == psutil.STATUS_ZOMBIE, "the ballast is gone")


def test_cool_down_waits(fake_gpus: FakeGpus) -> None:
    fake_gpus["g0_cools_by_c"] = 10
    (event,) = events(fake_gpus, "hold(cool_down={'temperature_c': 50})")
    assert event[0] == "gpu_cooled"
    assert (event[1]["stage"], event[1]["temperature_c"], event[1]["asked_c"], event[1]["reached"]) == ("c4", 44, 50, True)
    assert event[1]["waited_s"] > 0


@pytest.mark.parametrize(
    "call", ["hold(cool_down={'temperature_c': 50, 'timeout_s': 0.05})", "hold(lambda: True, cool_down={'temperature_c': 50})"]
)
def test_cool_down_that_is_not_reached(fake_gpus: FakeGpus, call: str) -> None:
    (event,) = events(fake_gpus, call)
    assert (event[1]["temperature_c"], event[1]["reached"]) == (64, False)


def test_cool_down_of_a_gpu_without_a_temperature(fake_gpus: FakeGpus) -> None:
    (event,) = events(fake_gpus, "hold(cool_down={'temperature_c': 50})", FAKE_NVML_FAIL="nvmlDeviceGetTemperature=3")
    assert (event[1]["temperature_c"], event[1]["reached"]) == (None, False)


def test_other_processes_are_named_before_a_stage(fake_gpus: FakeGpus) -> None:
    fake_gpus["g0_pid_a"] = os.getpid()
    (event,) = events(fake_gpus, "hold()")
    assert (event[0], event[1]["gpu"]) == ("gpu_busy", "GPU 0")
    assert event[1]["processes"] == [{"pid": os.getpid(), "name": psutil.Process().name(), "memory_bytes": 1 << 30}]


def test_pids_of_another_namespace_name_nobody_before_a_stage(fake_gpus: FakeGpus) -> None:
    """One of them is our own server."""
    fake_gpus["g0_pid_a"] = os.getpid()
    fake_gpus["g0_pid_b"] = UNSEEN_PID
    assert events(fake_gpus, "hold()") == []


def test_own_processes_are_not_others(fake_gpus: FakeGpus) -> None:
    code = """
import subprocess, sys
from trtbench.gpu.status import others, own_pids
from trtbench.gpu.inventory import GpuProcess
child = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
others([GpuProcess(child.pid, 1)], own_pids())
"""
    assert fake_gpus.ask(code) == []


def test_a_busy_gpu_is_refused_unless_allowed(fake_gpus: FakeGpus) -> None:
    fake_gpus["g0_pid_a"] = os.getpid()
    done = fake_gpus.trtbench("gpu", "lock", "--", "true")
    assert done.returncode == 2
    assert f"gpu.require_idle: GPU 0 is used by {os.getpid()} ({psutil.Process().name()}, 1.0 GiB)" in done.stderr
    fake_gpus["g0_pid_a"] = UNSEEN_PID
    unseen = fake_gpus.trtbench("gpu", "lock", "--", "true")
    assert f"GPU 0 is used by {UNSEEN_PID} (of another container or the host, 1.0 GiB)" in unseen.stderr
    fake_gpus["g0_pid_a"] = os.getpid()
    allowed = fake_gpus.trtbench("gpu", "lock", "--allow-busy", "--", "true")
    assert allowed.returncode == 0
    assert "GPU 0 is also used by other processes" in allowed.stderr
