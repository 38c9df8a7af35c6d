"""Whole measurements against a replay server, short: the figures must hold together, whatever the machine is doing."""

from __future__ import annotations

import asyncio

import pytest

from trtbench.client.kserve.inspection import inspect_target
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.self_test.answer import MODEL
from trtbench.self_test.calibrator import REPLAY_PACE, Pace, measure_ceiling, measure_send_lag, measure_streams

pytestmark = pytest.mark.timeout(60)


@pytest.mark.parametrize(("streams", "gap_us"), [(1, 1000), (10, 1000), (64, 6400), (1024, 102_400)])
def test_the_pace_is_kept_over_all_streams(streams: int, gap_us: int) -> None:
    assert REPLAY_PACE.gap_us(streams) == gap_us


def test_streams(replay: str) -> None:
    found = asyncio.run(measure_streams("replay", inspect_target(replay, MODEL), ClientSettings(), 8, Pace(800, 1000), 0.3))
    assert (found.failed, found.gap_us) == (0, 10_000)
    assert found.accuracy is not None
    assert found.accuracy.responses >= 8 * 7  # a request has 7 responses or more
    kernel, user = found.by_stamps()
    assert user is not None and user.ttft_ns is not None and user.ttft_ns.min is not None
    assert user.ttft_ns.min > 0
    if kernel is not None:
        assert kernel.ttft_ns is not None and kernel.ttft_ns.mean is not None
        assert user.ttft_ns.mean is not None
        assert 0 < kernel.ttft_ns.mean < user.ttft_ns.mean  # the kernel's stamp is the earlier one


def test_ceiling(replay: str) -> None:
    found = asyncio.run(measure_ceiling(inspect_target(replay, MODEL), ClientSettings(), 0.3))
    assert found.failed == 0
    assert found.responses_per_s > 2000
    assert found.cores > 0


def test_send_lag(replay: str) -> None:
    found = asyncio.run(measure_send_lag(inspect_target(replay, MODEL), ClientSettings(), 200, 0.5))
    assert (found.requests, found.failed, found.send_lag_ns.count) == (100, 0, 100)
    assert found.send_lag_ns.min is not None and found.send_lag_ns.min >= 0
