"""NVML on a real GPU. Has never run: docs/gpu-status.md."""

from __future__ import annotations

from contextlib import closing

import pytest

from trtbench.gpu import inventory
from trtbench.telemetry.nvml import Gpus

pytestmark = pytest.mark.gpu


def test_a_real_gpu_gives_every_series_within_its_range() -> None:
    reason = inventory.probe()
    gpus = inventory.describe()
    if not gpus:
        pytest.skip(reason)
    with closing(Gpus()) as source:
        samples = {(sample.name, sample.label): sample.value for sample in source.read()}
    for number in range(len(gpus)):
        label = str(number)
        assert 0 <= samples["gpu_utilization_ratio", label] <= 1
        assert samples["gpu_memory_used_bytes", label] > 0
        assert 0 < samples["gpu_power_w", label] < 2000
        assert 0 < samples["gpu_sm_clock_mhz", label] < 5000
        assert 0 < samples["gpu_temperature_c", label] < 120
