"""Curves over rounds: the points are means over planted rounds, the bars their intervals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.figure import Figure

from tests.support.runs.repeated_run import repeated_scenario, rounds
from tests.support.runs.written_run import write_run
from trtbench.analysis.summary import summarise
from trtbench.report.figures.round_curves import paint_latencies, paint_rates
from trtbench.report.kit.grouping import in_rounds
from trtbench.rundir.directory import RunDirectory

pytestmark = pytest.mark.whole_run

C1_MS, SECOND_MS = [100, 102, 104], [200, 200, 200]


@pytest.fixture
def measured(tmp_path: Path) -> Any:
    write_run(tmp_path / "run", repeated_scenario(3), *rounds({"c1": C1_MS, "second": SECOND_MS}))
    return in_rounds(summarise(RunDirectory.open(tmp_path / "run")))


def bars(axes: Any) -> dict[str, list[tuple[float, float]]]:
    """(Mean, half width) of each point, by label."""
    found = {}
    for container in axes.containers:
        line, _, (segments,) = container.lines
        ends = [(float(low[1]), float(high[1])) for low, high in segments.get_segments()]
        found[container.get_label()] = [(float(y), (high - low) / 2) for y, (low, high) in zip(line.get_ydata(), ends, strict=True)]
    return found


def test_points_are_means_and_bars_are_intervals(measured: Any) -> None:
    axes = Figure().subplots()
    paint_latencies({"e2e_latency_ns": axes}, measured, closed=True)
    ((name, points),) = bars(axes).items()
    assert name == "default-int8", "and no P99, which 20 requests do not give"
    assert sorted(points) == [pytest.approx((102, 4.303 * 2 / 3**0.5)), pytest.approx((200, 0))]


def test_rates_are_over_users_and_open_loops_have_none(measured: Any) -> None:
    axes = Figure().subplots()
    paint_rates(axes, measured, "request_throughput")
    (points,) = bars(axes).values()
    assert sorted(mean for mean, _ in points) == pytest.approx([5, np.mean([1000 / ms for ms in C1_MS])])
    paint_latencies({"e2e_latency_ns": (other := Figure().subplots())}, measured, closed=False)
    assert not other.containers
