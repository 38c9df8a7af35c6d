"""NVML's series against a compiled stand-in for the driver's library, which a process of its own loads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fakes.fake_gpu import MIG_UUIDS, FakeGpus

GIB = 1 << 30
READ = """
from dataclasses import astuple
from trtbench.telemetry import nvml
source = nvml.{source}
"""
ROWS = "[astuple(sample)[1:] for sample in source.read()]"


def rows(gpus: FakeGpus, source: str = "Gpus()", **variables: str) -> dict[tuple[str, str], float]:
    return {(name, label): value for name, label, value in gpus.ask(READ.format(source=source) + ROWS, **variables)}


def test_samples_of_two_gpus_in_our_units(fake_gpus: FakeGpus) -> None:
    assert rows(fake_gpus) == {
        ("gpu_utilization_ratio", "0"): 0.83,
        ("gpu_memory_used_bytes", "0"): 60 * GIB,
        ("gpu_power_w", "0"): 312.5,
        ("gpu_sm_clock_mhz", "0"): 1755,
        ("gpu_memory_clock_mhz", "0"): 2619,
        ("gpu_temperature_c", "0"): 64,
        ("gpu_memory_temperature_c", "0"): 71,
        ("gpu_throttle_reasons", "0"): 4,
        ("gpu_energy_j", "0"): 1000,
        ("gpu_pcie_tx_bytes", "0"): 5e6,
        ("gpu_pcie_rx_bytes", "0"): 7e6,
        ("gpu_nvlink_tx_bytes", "0"): 4096 * 1024,
        ("gpu_nvlink_rx_bytes", "0"): 8192 * 1024,
        ("gpu_utilization_ratio", "1"): 0.07,
        ("gpu_memory_used_bytes", "1"): 1 * GIB,
        # power and the fields of GPU 1 are not supported: they have no rows
        ("gpu_sm_clock_mhz", "1"): 345,
        ("gpu_memory_clock_mhz", "1"): 2619,
        ("gpu_temperature_c", "1"): 31,
        ("gpu_throttle_reasons", "1"): 1,
    }


def test_what_is_not_supported_is_named_once_and_not_asked_again(fake_gpus: FakeGpus) -> None:
    note = fake_gpus.ask(READ.format(source="Gpus()") + "source.note")
    assert note.startswith("GPU 1: gpu_power_w, gpu_memory_temperature_c, gpu_energy_j,")
    assert "GPU 0" not in note
    counted = """
import pynvml
pynvml.nvmlDeviceGetPowerUsage = None  # to ask again would fail
"""
    assert len(fake_gpus.ask(READ.format(source="Gpus()") + "del source._calls[next(iter(source._calls))]" + counted + ROWS)) == 6


def test_a_driver_without_field_values_keeps_the_rest(fake_gpus: FakeGpus) -> None:
    fake_gpus["old_driver"] = 1
    found = rows(fake_gpus)
    assert ("gpu_energy_j", "0") not in found
    assert found["gpu_power_w", "0"] == 312.5
    slow = rows(fake_gpus, "GpuUsers([], 1)")
    assert (slow["gpu_pcie_tx_bytes_per_s", "0"], slow["gpu_pcie_rx_bytes_per_s", "0"]) == (1e6, 2e6)


def test_utilization_of_a_gpu_in_mig_instances_is_not_sampled(fake_gpus: FakeGpus) -> None:
    fake_gpus["g0_mig"] = 1
    assert ("gpu_utilization_ratio", "0") not in rows(fake_gpus)
    note = fake_gpus.ask(READ.format(source="Gpus()") + "source.note")
    assert "GPU 0 (MIG): gpu_utilization_ratio;" in note
    slow = rows(fake_gpus, "GpuUsers([], 1)")
    assert [slow["mig_memory_used_bytes", uuid] for uuid in MIG_UUIDS] == [1 * GIB, 2 * GIB]
    assert all(slow["mig_memory_bytes", uuid] > slow["mig_memory_used_bytes", uuid] for uuid in MIG_UUIDS)


def test_a_lost_gpu_is_reported_once_and_the_other_is_still_sampled(fake_gpus: FakeGpus) -> None:
    fake_gpus["g0_calls_left"] = 60
    told = fake_gpus.ask(READ.format(source="Gpus()") + f"[{ROWS} for _ in range(20)]")
    lost = [row for reading in told for row in reading if row[0] == "gpu_lost"]
    assert lost == [["gpu_lost", "0", 1.0]]
    assert {label for _, label, _ in told[-1]} == {"1"}


def test_the_samplers_process_reads_all_three_and_names_what_is_missing(fake_gpus: FakeGpus, tmp_path: Path) -> None:
    code = f"""
import os, time
from dataclasses import asdict
from pathlib import Path
from trtbench.rundir.directory import DeploymentDirectory
from trtbench.telemetry.sampler import Sampler
from trtbench.telemetry.sources import SampledServer, SamplerConfig
directory = DeploymentDirectory(Path({str(tmp_path)!r}))
config = SamplerConfig((SampledServer("127.0.0.1:9", None, None),), "none", os.getpid(), 100_000_000, True)
with Sampler(config, directory.samples_jsonl) as sampler:
    sampler.wait_ready()
    time.sleep(1.5)
tallies = {{name: asdict(tally) for name, tally in sampler.tallies.items()}}
[tallies, directory.samples().names()]
"""
    tallies, names = fake_gpus.ask(code)
    assert [tallies[name]["failures"] for name in ("gpu", "gpu_users", "gpu_errors")] == [0, 0, 0]
    assert tallies["gpu"]["readings"] > tallies["gpu_users"]["readings"] > 0
    assert "GPU 1: gpu_power_w" in tallies["gpu"]["note"]
    assert tallies["gpu_errors"]["note"] == "GPU 1: gpu_xid"
    assert {"gpu_energy_j", "gpu_other_processes", "gpu_ecc_uncorrected"} <= set(names)


PROCESSES = """
import os, subprocess, sys
server = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
"""


@pytest.mark.parametrize(("other", "count"), [("os.getppid()", 1.0), ("0", 0.0)])
def test_memory_of_the_server_and_other_processes(fake_gpus: FakeGpus, other: str, count: float) -> None:
    code = (
        PROCESSES
        + f"""
import mmap, struct
from tests.support.fakes.fake_gpu import SLOTS
with open(os.environ["FAKE_NVML_STATE"], "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
    struct.pack_into("=q", memory, SLOTS["g0_pid_a"][0] * 8, server.pid)
    struct.pack_into("=q", memory, SLOTS["g0_pid_b"][0] * 8, {other})
"""
        + READ.format(source="GpuUsers([server.pid], os.getpid())")
        + ROWS
    )
    path = f"{fake_gpus.environment['PYTHONPATH']}:{Path(__file__).parents[2]}"
    told = {(name, label): value for name, label, value in fake_gpus.ask(code, PYTHONPATH=path)}
    assert told["server_gpu_memory_bytes", "0"] == 1 * GIB
    assert told["gpu_other_processes", "0"] == count
    assert told["gpu_other_processes", "1"] == 0
    assert told["gpu_ecc_uncorrected", "0"] == 0
    assert ("gpu_ecc_uncorrected", "1") not in told


def test_processes_of_another_pid_namespace_are_not_guessed_at(fake_gpus: FakeGpus) -> None:
    fake_gpus["g0_pid_a"] = 2**22 - 1  # nobody here
    told = rows(fake_gpus, "GpuUsers([], 1)")
    assert ("gpu_other_processes", "0") not in told
    assert ("gpu_other_processes", "1") in told


def test_an_xid_is_reported_once(fake_gpus: FakeGpus) -> None:
    fake_gpus["xid"] = 79
    code = READ.format(source="GpuErrors()") + "[" + ROWS + " for _ in range(2)] + [source.note]"
    assert fake_gpus.ask(code) == [[["gpu_xid", "0", 79.0]], [], "GPU 1: gpu_xid"]


def test_the_xid_of_a_gpu_that_is_then_lost_is_reported(fake_gpus: FakeGpus) -> None:
    fake_gpus["xid"] = 79
    lost = {"FAKE_NVML_FAIL": "nvmlEventSetWait_v2=15"}
    assert rows(fake_gpus, "GpuErrors()", **lost) == {("gpu_xid", "0"): 79}
    assert "NVMLError_GpuIsLost" in fake_gpus.python(READ.format(source="GpuErrors()") + ROWS, **lost).stderr


def test_gpus_without_xids_are_an_error(fake_gpus: FakeGpus) -> None:
    done = fake_gpus.python(READ.format(source="GpuErrors()"), FAKE_NVML_FAIL="nvmlDeviceRegisterEvents=3")
    assert "NVMLError_NotSupported" in done.stderr


@pytest.mark.process
def test_nothing_else_of_telemetry_imports_pynvml() -> None:
    modules = "trtbench.telemetry.sampler, trtbench.telemetry.process, trtbench.telemetry.triton, trtbench.telemetry.__main__"
    code = f"import sys, {modules}; print([m for m in ('pynvml', 'grpc', 'tritonclient') if m in sys.modules])"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True)
    assert answer.stdout.strip() == "[]"
