from __future__ import annotations

import hashlib
import json
import os
import platform
import socket
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from trtbench.run.environment import PACKAGES, VARIABLES, capture, cpu_model
from trtbench.rundir.directory import RunDirectory
from trtbench.system.clock import WallAnchor

ANCHOR = WallAnchor(monotonic_ns=10**9, wall_ns=1_764_547_200 * 10**9)


def test_survives_the_run_directory(tmp_path: Path) -> None:
    environment = capture(ANCHOR)
    directory = RunDirectory.create(tmp_path / "run")
    directory.write_environment(environment)
    assert RunDirectory.open(tmp_path / "run").environment() == environment


def test_holds_this_machine() -> None:
    environment = capture(ANCHOR)
    assert environment.started_utc == "2025-12-01T00:00:00+00:00"
    assert (environment.anchor_monotonic_ns, environment.anchor_wall_ns) == (ANCHOR.monotonic_ns, ANCHOR.wall_ns)
    assert environment.cpu_count == len(os.sched_getaffinity(0))
    assert environment.memory_bytes == psutil.virtual_memory().total
    assert platform.python_version() in environment.python
    assert environment.packages["numpy"]
    assert set(environment.packages) <= set(PACKAGES)
    assert environment.nvml.startswith("driver") == bool(environment.gpus)


def test_no_variable_but_those_on_the_list_leaks(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [*os.environ, "HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "TRTLLM_ORCHESTRATOR_SECRET", "omp_num_threads"]:
        if name not in VARIABLES:
            monkeypatch.setenv(name, f"leaked-{name}-sentinel")
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    for name in VARIABLES:
        if name not in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES"):
            monkeypatch.delenv(name, raising=False)
    environment = capture(ANCHOR)
    assert environment.variables == {"OMP_NUM_THREADS": "3", "CUDA_VISIBLE_DEVICES": ""}
    assert "sentinel" not in json.dumps(asdict(environment))


def test_the_hosts_and_the_users_names_stay_private(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "secret-node-17.example")
    monkeypatch.setenv("USER", "secret-user")
    environment = capture(ANCHOR)
    assert environment.hostname_sha256 == hashlib.sha256(b"secret-node-17.example").hexdigest()
    text = json.dumps(asdict(environment))
    assert "secret" not in text
    assert platform.node() not in environment.platform.split()


@pytest.mark.parametrize(
    ("cpuinfo", "model"),
    [
        (
            "processor\t: 0\nmodel\t\t: 85\nmodel name\t: Intel(R) Xeon(R) CPU @ 2.20GHz\nmodel name\t: other\n",
            "Intel(R) Xeon(R) CPU @ 2.20GHz",
        ),
        ("processor\t: 0\nBogoMIPS\t: 2100.00\nCPU implementer\t: 0x41\n", platform.machine()),
        ("", platform.machine()),
    ],
)
def test_cpu_model(cpuinfo: str, model: str) -> None:
    assert cpu_model(cpuinfo) == model
