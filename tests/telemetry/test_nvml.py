"""NVML against a compiled stand-in for the driver's library, which a process of its own loads."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[1] / "fixtures" / "fake_nvml" / "nvml.c"
GIB = 1 << 30


@pytest.fixture(scope="module")
def fake_nvml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of the fake libnvidia-ml.so.1."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler (cc) to build the fake NVML with")
    directory = tmp_path_factory.mktemp("nvml")
    subprocess.run([compiler, "-shared", "-fPIC", "-Wall", "-Werror", "-o", directory / "libnvidia-ml.so.1", SOURCE], check=True)
    return directory


def _ask(library: Path | None, expression: str, **variables: str) -> Any:
    """The value of `expression` over `trtbench.telemetry.nvml`, in a process that finds the library in that directory only."""
    environment = {key: value for key, value in os.environ.items() if key != "LD_LIBRARY_PATH"} | variables
    if library is not None:
        environment["LD_LIBRARY_PATH"] = str(library)
    code = f"import json; from dataclasses import astuple; from trtbench.telemetry import nvml; print(json.dumps({expression}))"
    answer = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=30, check=False)
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def test_samples_of_two_gpus_in_our_units(fake_nvml: Path) -> None:
    rows = _ask(fake_nvml, "[astuple(sample)[1:] for sample in nvml.Gpus().read()]")
    assert {(name, label): value for name, label, value in rows} == {
        ("gpu_utilization_ratio", "0"): 0.83,
        ("gpu_memory_used_bytes", "0"): 60 * GIB,
        ("gpu_power_w", "0"): 312.5,
        ("gpu_sm_clock_mhz", "0"): 1755,
        ("gpu_temperature_c", "0"): 64,
        ("gpu_throttle_reasons", "0"): 4,
        ("gpu_utilization_ratio", "1"): 0.07,
        ("gpu_memory_used_bytes", "1"): 1 * GIB,
        # gpu_power_w of GPU 1 is not supported: it has no row
        ("gpu_sm_clock_mhz", "1"): 345,
        ("gpu_temperature_c", "1"): 31,
        ("gpu_throttle_reasons", "1"): 1,
    }


def test_facts_of_each_gpu(fake_nvml: Path) -> None:
    assert _ask(fake_nvml, "nvml.describe()") == [
        {
            "index": 0,
            "name": "Fake GPU 0",
            "memory_bytes": 80 * GIB,
            "compute_capability": "9.0",
            "power_limit_w": 700.0,
            "sm_clock_max_mhz": 1980,
        },
        {"index": 1, "name": "Fake GPU 1", "memory_bytes": 80 * GIB, "compute_capability": "9.0", "sm_clock_max_mhz": 1980},
    ]


def test_probe_says_the_driver(fake_nvml: Path) -> None:
    assert _ask(fake_nvml, "nvml.probe()") == "driver 550.54.14"


@pytest.mark.parametrize(
    ("init_code", "said"),
    [("9", "kernel driver is not loaded"), ("4", "may not open"), ("18", "different versions"), ("999", "does not start")],
)
def test_probe_says_why_there_is_none(fake_nvml: Path, init_code: str, said: str) -> None:
    assert said in _ask(fake_nvml, "nvml.probe()", FAKE_NVML_INIT=init_code)
    assert _ask(fake_nvml, "nvml.describe()", FAKE_NVML_INIT=init_code) == []


def test_probe_of_a_driver_without_gpus(fake_nvml: Path) -> None:
    assert _ask(fake_nvml, "nvml.probe()", FAKE_NVML_GPUS="0") == "the NVIDIA driver shows no GPU"


def test_probe_without_a_driver(tmp_path: Path) -> None:
    said = _ask(tmp_path, "nvml.probe()")
    if said.startswith("driver"):
        pytest.skip("this machine has a driver")
    assert said == "no NVIDIA driver library (libnvidia-ml.so.1) on this machine"


def test_nothing_else_of_telemetry_imports_pynvml() -> None:
    modules = "trtbench.telemetry.sampler, trtbench.telemetry.process, trtbench.telemetry.triton, trtbench.telemetry.__main__"
    code = f"import sys, {modules}; print([m for m in ('pynvml', 'grpc', 'tritonclient') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert answer.stdout.strip() == "[]"
