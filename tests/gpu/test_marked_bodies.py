"""The tests marked `gpu` that ask the drivers alone, run as they are over the fake drivers: a slip in one is seen before it meets a GPU.

tests/on_gpu/ runs twice by itself; what is in neither is named here.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.fakes.fake_gpu import ROOT, FakeGpus

TESTS = ROOT / "tests"
OVER_DRIVERS = ("gpu/test_gpu.py", "telemetry/test_nvml_gpu.py")
OF_A_SERVER = ("gpu/test_encoder_plan.py",)
BY_ITSELF = ("on_gpu/conftest.py",)
MARK = re.compile(r"^(pytestmark = |@|    pytest\.param\().*\bmark\.gpu\b", re.MULTILINE)


def test_every_marked_file_is_known() -> None:
    marked = [path.relative_to(TESTS).as_posix() for path in TESTS.rglob("*.py") if MARK.search(path.read_text(encoding="utf-8"))]
    assert sorted(marked) == sorted((*OVER_DRIVERS, *OF_A_SERVER, *BY_ITSELF))


@pytest.mark.timeout(240)
def test_their_bodies_pass_on_the_fake_drivers(fake_gpus: FakeGpus, tmp_path: Path) -> None:
    """One GPU: the second fake one lacks what a data-centre GPU has."""
    places = [str(TESTS / place) for place in OVER_DRIVERS]
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-rs",
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path / 'their'}",
        "-m",
        "gpu",
        *places,
    ]
    variables = fake_gpus.environment | {"FAKE_NVML_GPUS": "1", "FAKE_CUDA_GPUS": "1"}
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=220, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^\d+ passed in", done.stdout, re.M), done.stdout  # none is skipped, as root
