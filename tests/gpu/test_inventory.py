"""Which GPUs there are, against the fake driver."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fakes.fake_gpu import UUIDS, FakeGpus

GIB = 1 << 30
NVML = "from trtbench.gpu import inventory\n"


def test_facts_of_each_gpu(fake_gpus: FakeGpus) -> None:
    common = {"memory_bytes": 80 * GIB, "compute_capability": "9.0", "sm_clock_max_mhz": 1980, "memory_clock_max_mhz": 2619}
    assert fake_gpus.ask(NVML + "inventory.describe()") == [
        common
        | {"index": 0, "name": "Fake GPU 0", "uuid": UUIDS[0], "power_limit_w": 700.0, "power_limit_default_w": 700.0}
        | {"persistence_mode": False, "compute_mode": "default", "ecc": True, "mig": False},
        common | {"index": 1, "name": "Fake GPU 1", "uuid": UUIDS[1], "persistence_mode": True, "compute_mode": "default", "ecc": False},
    ]


def test_a_gpu_of_another_job_is_left_out_and_the_others_keep_their_index(fake_gpus: FakeGpus) -> None:
    found = fake_gpus.ask(NVML + "[[gpu['index'], gpu['uuid']] for gpu in inventory.describe()]", FAKE_NVML_DENIED="0")
    assert found == [[1, UUIDS[1]]]


def test_probe_says_the_driver(fake_gpus: FakeGpus) -> None:
    assert fake_gpus.ask(NVML + "inventory.probe()") == "driver 550.54.14"


@pytest.mark.parametrize(
    ("init_code", "said"),
    [("9", "kernel driver is not loaded"), ("4", "may not open"), ("18", "different versions"), ("999", "does not start")],
)
def test_probe_says_why_there_is_none(fake_gpus: FakeGpus, init_code: str, said: str) -> None:
    assert said in fake_gpus.ask(NVML + "inventory.probe()", FAKE_NVML_INIT=init_code)
    assert fake_gpus.ask(NVML + "inventory.describe()", FAKE_NVML_INIT=init_code) == []


def test_probe_of_a_driver_without_gpus(fake_gpus: FakeGpus) -> None:
    assert fake_gpus.ask(NVML + "inventory.probe()", FAKE_NVML_GPUS="0") == "the NVIDIA driver shows no GPU"


def test_probe_without_a_driver(fake_gpus: FakeGpus, tmp_path: Path) -> None:
    said = fake_gpus.ask(NVML + "inventory.probe()", LD_LIBRARY_PATH=str(tmp_path))
    if said.startswith("driver"):
        pytest.skip("this machine has a driver")
    assert said == "no NVIDIA driver library (libnvidia-ml.so.1) on this machine"


@pytest.mark.process
def test_the_journal_alone_needs_no_pynvml() -> None:
    code = "import sys, trtbench.gpu.journal; print('pynvml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True).stdout.strip() == "False"
