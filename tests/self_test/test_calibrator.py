from __future__ import annotations

import asyncio

import pytest

from tests.support.triton.kserve import Serving
from trtbench.client.protocol import TargetError
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.self_test import calibrator
from trtbench.self_test.answer import DIRECTORY
from trtbench.self_test.calibrator import Calibrator, Extent
from trtbench.self_test.figures import Calibration
from trtbench.serving.server.installation import InstallationError

pytestmark = pytest.mark.timeout(60, func_only=True)


def calibrate(url: str | None = None) -> tuple[Calibration, list[str]]:
    steps: list[str] = []
    return asyncio.run(Calibrator(ClientSettings(), (2,), Extent(0.2, (50,)), steps.append).run(url)), steps


@pytest.mark.triton
def test_a_triton_of_its_own_and_the_replay_server() -> None:
    found, steps = calibrate()
    assert [(row.server, row.failed) for row in found.streams] == [("Triton", 0), ("replay", 0)]
    assert all(row.accuracy and row.accuracy.stamps.ttft_ns for row in found.streams)
    assert (found.ceiling.failed, [row.failed for row in found.send_lag], found.skipped) == (0, [0], "")
    assert "starts" in steps[0]


@pytest.mark.triton
def test_a_triton_that_runs_already(triton: str) -> None:
    found, steps = calibrate(triton)
    assert [row.server for row in found.streams] == ["Triton", "replay"]
    assert not any("starts" in step for step in steps)


@pytest.mark.process
def test_where_there_is_no_triton_the_replay_server_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> None:
        raise InstallationError("no tritonserver here")

    monkeypatch.setattr(calibrator, "find_tritonserver", none)
    found, steps = calibrate()
    assert [row.server for row in found.streams] == ["replay"]
    assert found.skipped == "no tritonserver here"
    assert len(steps) == 3


@pytest.mark.triton
def test_the_error_for_a_missing_model_names_the_remedy(int8_server: Serving) -> None:
    with pytest.raises(TargetError, match="no model 'calibration'") as caught:
        calibrate(int8_server.url)
    assert str(DIRECTORY) in str(caught.value)
