"""An encoder's TensorRT plan built and served on a real GPU. Has never run: docs/gpu-status.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.command import Command, ran
from trtbench.engine.build import PROVIDERS
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.lines import read_json

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(900)]


def test_built_served_and_reported_in_both_precisions(tmp_path: Path) -> None:
    if reason := PROVIDERS["tensorrt"].unavailable():
        pytest.skip(reason)
    keys = ("provider=tensorrt", "engines=[fp16, int8]", "grid=null", "build.max_batch_size=8", "build.max_input_len=200")
    flags = [word for key in keys for word in ("--set", key)]
    command = Command(tmp_path, "serve-and-bench", "encoder", *flags, "--runs", str(tmp_path / "runs"))
    try:
        assert ran(command.wait(800), command.directory), command.err
    finally:
        command.end()
    (path,) = (tmp_path / "runs").iterdir()
    for deployment in RunDirectory.open(path).deployments():
        assert read_json(deployment.path / "deployment.json")["padded_to_tokens"]
        assert all(record.outcome.value == "completed" for record in deployment.requests())
    summary = read_json(path / "summary.json")
    assert all(stage["padding_ratio"] > 0 for found in summary["deployments"] for stage in found["stages"])
