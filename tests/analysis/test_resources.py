from __future__ import annotations

import pytest
from synthetic_run import S, samples_of

from trtbench.analysis.resources import energy_j, resources
from trtbench.analysis.window import Level


def test_what_was_not_sampled_is_none() -> None:
    use = resources(samples_of({}), 0, 10)
    assert use.server_cpu_cores is None and use.machine_cpu_ratio is None and use.gpus == {} and use.engine_memory_bytes == {}


def test_levels_of_the_window_alone() -> None:
    use = resources(samples_of({("server_cpu_cores", ""): [(0, 9), (10, 1), (20, 2), (30, 9)]}), 10, 20)
    assert use.server_cpu_cores == Level(1.5, 1, 2)


@pytest.mark.parametrize(
    ("reasons", "power_cap", "slowdown"),
    [
        ([0x0, 0x1, 0x2, 0x0], 0.0, 0.0),  # idle and asked-for clocks are no throttling
        ([0x4, 0x0, 0x0, 0x0], 0.25, 0.0),
        ([0x20, 0x40, 0x8 | 0x4, 0x80], 0.25, 1.0),
    ],
)
def test_throttle_reasons(reasons: list[int], power_cap: float, slowdown: float) -> None:
    samples = samples_of({("gpu_throttle_reasons", "0"): list(enumerate(reasons)), ("gpu_utilization_ratio", "0"): [(0, 1)]})
    gpu = resources(samples, 0, 10).gpus["0"]
    assert (gpu.power_cap_ratio, gpu.slowdown_ratio) == (power_cap, slowdown)


def test_energy_is_the_area_under_power() -> None:
    power = samples_of({("gpu_power_w", "0"): [(0, 100), (1 * S, 100), (3 * S, 300), (4 * S, 300)]}).series("gpu_power_w", "0")
    assert energy_j(power, 0, 4 * S) == pytest.approx(100 + 400 + 300)
    assert energy_j(power, 1 * S, 2 * S) is None


def test_the_least_memory_left_is_the_machines_or_the_containers() -> None:
    machine, container = ("machine_memory_available_bytes", ""), ("container_memory_available_bytes", "")
    assert resources(samples_of({machine: [(0, 90), (1, 80)], container: [(0, 20), (1, 30)]}), 0, 1).memory_available_min_bytes == 20
    assert resources(samples_of({machine: [(0, 90), (1, 80)]}), 0, 1).memory_available_min_bytes == 80
    assert resources(samples_of({}), 0, 1).memory_available_min_bytes is None
