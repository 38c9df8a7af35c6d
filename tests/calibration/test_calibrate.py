"""The command."""

from __future__ import annotations

import asyncio
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from serving.kserve import Serving

from trtbench.calibration import calibrator
from trtbench.calibration.calibrator import Calibrator, Extent
from trtbench.scenario import ClientSettings
from trtbench.serving.installation import InstallationError

pytestmark = pytest.mark.timeout(120)
SHORT = Extent(0.2, (50,))


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "trtbench.cli", "calibrate", *arguments], capture_output=True, text=True, timeout=100, check=False
    )


@pytest.mark.triton
def test_all_of_it(tmp_path: Path) -> None:
    done = command("--quick", "--streams", "1,8", "--json", str(tmp_path / "calibration.json"))
    assert done.returncode == 0, done.stderr
    for expected in ("Triton", "replay", "Ceiling", "Send lag"):
        assert expected in done.stdout
    found = json.loads((tmp_path / "calibration.json").read_text())
    assert [(row["server"], row["streams"]) for row in found["streams"]] == [("Triton", 1), ("Triton", 8), ("replay", 1), ("replay", 8)]
    assert [row["failed"] for row in found["streams"]] == [0] * 4
    assert all(row["accuracy"]["stamps"]["ttft_ns"]["min"] > 0 for row in found["streams"])
    assert found["skipped"] == ""


@pytest.mark.triton
def test_a_server_that_runs_already(triton: str) -> None:
    steps: list[str] = []
    found = asyncio.run(Calibrator(ClientSettings(), (2,), SHORT, steps.append).run(triton))
    assert [row.server for row in found.streams] == ["Triton", "replay"]
    assert not any("starts" in step for step in steps)


@pytest.mark.triton
def test_a_server_without_the_model_is_told_how_to_get_it(int8_server: Serving) -> None:
    done = command("--url", int8_server.url)
    assert done.returncode == 2
    assert "no model 'calibration'" in done.stderr
    assert str(Path("model_repo") / "calibration") in done.stderr


def test_a_server_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    done = command("--url", f"127.0.0.1:{port}")
    assert done.returncode == 2
    assert f"127.0.0.1:{port}" in done.stderr


@pytest.mark.parametrize("streams", ["", "0", "1,x", "1,-2", "1.5"])
def test_streams_that_are_no_numbers(streams: str) -> None:
    done = command("--streams", streams)
    assert done.returncode == 2
    assert "--streams" in done.stderr


def test_where_there_is_no_triton_the_replay_server_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise InstallationError("no tritonserver here")

    monkeypatch.setattr(calibrator, "find_tritonserver", none)
    steps: list[str] = []
    found = asyncio.run(Calibrator(ClientSettings(), (2,), SHORT, steps.append).run(None))
    assert [row.server for row in found.streams] == ["replay"]
    assert found.skipped == "no tritonserver here"
    assert len(steps) == 3
