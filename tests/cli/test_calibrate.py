"""`trtbench calibrate`: what it prints of hand-made figures, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from trtbench.analysis.stats.percentile import Distribution
from trtbench.cli.main import main
from trtbench.client.protocol import ConnectError
from trtbench.self_test.calibrator import Calibrator
from trtbench.self_test.figures import Accuracy, Calibration, Ceiling, SendLag, StampErrors, StreamFigures
from trtbench.self_test.stamp import StampError

US = 1000


def spread(p50_us: int, p99_us: int, max_us: int) -> Distribution:
    return Distribution(5000, max=max_us * US, p50=p50_us * US, p90=p50_us * US, p99=p99_us * US)


def row(late_us: int = 5, ttft: bool = True, failed: int = 0, stamps: str = "kernel") -> StreamFigures:
    kernel = StampErrors(spread(11, 22, 33) if ttft else None, spread(1, 2, 3))
    user = StampErrors(spread(111, 222, 333), spread(44, 55, 66)) if stamps == "kernel" else None
    accuracy = Accuracy(100, 1600, kernel, user, 0.0125, spread(late_us, late_us, late_us))
    return StreamFigures("Triton", 64, 32_000, 1987.6, 23.45, {"stamps": stamps}, accuracy, failed, "connection: reset" if failed else "")


def calibration(*rows: StreamFigures, skipped: str = "") -> Calibration:
    lag = SendLag(500, 2500, 0, 0.99987, spread(60, 700, 4321), spread(50, 60, 987), 0.2)
    return Calibration(rows, Ceiling(16, 123_456, 130_000, 0.95, 0), (lag,), skipped)


def run(monkeypatch: pytest.MonkeyPatch, outcome: Calibration | Exception, *arguments: str) -> Result:
    async def measured(self: Calibrator, url: str | None) -> Calibration:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    monkeypatch.setattr(Calibrator, "run", measured)
    return CliRunner().invoke(main, ["calibrate", *arguments])


def test_figures_are_listed_by_their_stamps_in_us(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(monkeypatch, calibration(row()))
    assert done.exit_code == 0, done.output
    (line,) = (line for line in done.output.splitlines() if "11 / 22 / 33" in line)
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    errors = ["11 / 22 / 33", "1 / 2 / 3", "111 / 222 / 333", "44 / 55 / 66"]
    assert cells == ["Triton", "64", "32", "1,988", *errors, "1.25%", "23.4"]


def test_without_kernel_stamps_their_columns_are_empty(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(monkeypatch, calibration(row(stamps="user")))
    (line,) = (line for line in done.output.splitlines() if "11 / 22 / 33" in line)
    assert [cell.strip() for cell in line.strip("│").split("│")][4:9] == ["-", "-", "11 / 22 / 33", "1 / 2 / 3", "-"]


def test_ceiling_and_send_lag_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    done = run(monkeypatch, calibration(row()))
    assert "123,456 responses/s at 95% of a core" in done.output
    assert "the limit: the client" in done.output
    assert all(figure in done.output for figure in ("0.9999", "60 / 700 / 4,321", "50 / 60 / 987", "20%"))


@pytest.mark.parametrize(
    ("found", "remark"),
    [
        (calibration(row(late_us=50_000)), "behind its own schedule (p90: 50.0 ms)"),
        (calibration(row(ttft=False)), "clock is not this machine's"),
        (calibration(row(failed=7)), "7 requests failed, the first: connection: reset"),
        (calibration(skipped="no tritonserver here"), "no Triton: no tritonserver here"),
    ],
)
def test_what_a_server_could_not_give_is_said(monkeypatch: pytest.MonkeyPatch, found: Calibration, remark: str) -> None:
    assert remark in run(monkeypatch, found).output


def test_a_clean_row_has_no_remark(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Triton, 64 streams" not in run(monkeypatch, calibration(row())).output


def test_json_has_every_figure(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "calibration.json"
    assert run(monkeypatch, calibration(row()), "--json", str(path)).exit_code == 0
    found = json.loads(path.read_text())
    assert found["streams"][0]["accuracy"]["stamps"]["itl_ns"]["p99"] == 2 * US
    assert found["send_lag"][0]["send_lag_ns"]["max"] == 4321 * US


@pytest.mark.parametrize("streams", ["", "0", "1,x", "1,-2", "1.5"])
def test_streams_that_are_no_numbers(monkeypatch: pytest.MonkeyPatch, streams: str) -> None:
    done = run(monkeypatch, calibration(), "--streams", streams)
    assert done.exit_code == 2
    assert "--streams" in done.output


@pytest.mark.parametrize(
    ("arguments", "expected"), [((), (1, 64, 256, 1024)), (("--quick",), (1, 64)), (("--quick", "--streams=5,6"), (5, 6))]
)
def test_which_streams_are_measured(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], expected: tuple[int, ...]) -> None:
    asked: list[tuple[int, ...]] = []

    async def measured(self: Calibrator, url: str | None) -> Calibration:
        asked.append(self.streams)
        return calibration()

    monkeypatch.setattr(Calibrator, "run", measured)
    assert CliRunner().invoke(main, ["calibrate", *arguments]).exit_code == 0
    assert asked == [expected]


@pytest.mark.parametrize(
    "fault", [StampError("responses are not numbered"), ConnectError("it does not answer"), OSError(28, "No space left")]
)
def test_faults_end_in_one_line(monkeypatch: pytest.MonkeyPatch, fault: Exception) -> None:
    done = run(monkeypatch, fault)
    assert done.exit_code == 1
    assert str(fault) in done.output


def test_a_transport_that_was_removed_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(monkeypatch, calibration(), "--transport", "wire").exit_code == 0
    done = run(monkeypatch, calibration(), "--transport", "grpc")
    assert done.exit_code == 2 and "--transport grpc: wire is the only transport" in done.output


@pytest.mark.process
def test_a_server_that_is_not_there_is_named() -> None:
    done = CliRunner().invoke(main, ["calibrate", "--url", "127.0.0.1:1"])
    assert done.exit_code == 2
    assert "127.0.0.1:1" in done.output
