from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import S, samples_of
from trtbench.analysis.stage.resources import GpuUse, energy_j, gained, resources
from trtbench.analysis.stats.window import Level


def test_what_was_not_sampled_is_none() -> None:
    use = resources(samples_of({}), 0, 10)
    assert use.server_cpu_cores is None and use.machine_cpu_ratio is None and use.gpus == {} and use.engine_memory_bytes == {}


def test_levels_of_the_window_alone() -> None:
    use = resources(samples_of({("server_cpu_cores", ""): [(0, 9), (10, 1), (20, 2), (30, 9)]}), 10, 20)
    assert use.server_cpu_cores == Level(1.5, 1, 2)


@pytest.mark.parametrize(
    ("reasons", "ratios"),
    [
        ([0x0, 0x1, 0x2, 0x0], {}),  # idle and asked-for clocks are no throttling
        ([0x4, 0x0, 0x0, 0x0], {"power_cap": 0.25}),
        (
            [0x20, 0x8 | 0x40, 0x8 | 0x4, 0x8 | 0x80],
            dict.fromkeys(("power_cap", "hw_slowdown", "sw_thermal", "hw_thermal", "power_brake"), 0.25),
        ),
    ],
)
def test_throttle_reasons(reasons: list[int], ratios: dict[str, float]) -> None:
    samples = samples_of({("gpu_throttle_reasons", "0"): list(enumerate(reasons)), ("gpu_utilization_ratio", "0"): [(0, 1)]})
    assert resources(samples, 0, 10).gpus["0"].throttle_ratios == ratios


def gpu_of(**series: list[tuple[int, float]]) -> GpuUse:
    known = {("gpu_utilization_ratio", "0"): [(0, 1.0)]}
    return resources(samples_of(known | {(name, "0"): points for name, points in series.items()}), 10 * S, 20 * S).gpus["0"]


def test_energy_by_the_gpus_own_counter_is_read_off_at_the_borders() -> None:
    counter = [(9 * S, 900.0), (11 * S, 1100.0), (19 * S, 2100.0), (21 * S, 2500.0)]
    power = [(10 * S, 1.0), (20 * S, 1.0)]
    assert gpu_of(gpu_energy_j=counter, gpu_power_w=power).energy_j == pytest.approx(2300 - 1000)
    assert gpu_of(gpu_energy_j=counter[1:], gpu_power_w=power).energy_j == pytest.approx(10)  # does not reach over the window
    anew = [(9 * S, 900.0), (11 * S, 1100.0), (19 * S, 5.0), (21 * S, 50.0)]
    assert gpu_of(gpu_energy_j=anew, gpu_power_w=power).energy_j == pytest.approx(10)
    assert gpu_of(gpu_energy_j=anew).energy_j is None


@given(st.lists(st.floats(0, 1e6), min_size=2, max_size=30))
def test_what_a_counter_gains_in_two_halves_adds_up(steps: list[float]) -> None:
    values = np.cumsum(steps)
    counter = (np.arange(len(values), dtype=np.int64) * S, values)
    whole = gained(counter, 0, (len(values) - 1) * S)
    middle = (len(values) - 1) * S // 2
    halves = (gained(counter, 0, middle), gained(counter, middle, (len(values) - 1) * S))
    assert whole == pytest.approx(values[-1] - values[0])
    assert sum(half or 0 for half in halves) == pytest.approx(whole)


def test_rates_of_links_by_counters_and_where_there_are_none_by_the_drivers_own() -> None:
    counter = [(9 * S, 0.0), (10 * S, 1000.0), (15 * S, 2000.0), (20 * S, 3000.0), (21 * S, 9000.0)]
    use = gpu_of(gpu_pcie_rx_bytes=counter, gpu_nvlink_tx_bytes=counter[2:], gpu_pcie_tx_bytes_per_s=[(12 * S, 50.0), (14 * S, 150.0)])
    assert (use.pcie_rx_bytes_per_s, use.pcie_tx_bytes_per_s) == (200.0, 100.0)
    assert (use.nvlink_rx_bytes_per_s, use.nvlink_tx_bytes_per_s) == (None, 200.0)
    assert gpu_of(gpu_pcie_rx_bytes=[(12 * S, 9.0), (14 * S, 1.0)]).pcie_rx_bytes_per_s is None  # the counter started anew


def test_energy_is_the_area_under_power() -> None:
    power = samples_of({("gpu_power_w", "0"): [(0, 100), (1 * S, 100), (3 * S, 300), (4 * S, 300)]}).series("gpu_power_w", "0")
    assert energy_j(power, 0, 4 * S) == pytest.approx(100 + 400 + 300)
    assert energy_j(power, 1 * S, 2 * S) is None


def test_the_least_memory_left_is_the_machines_or_the_containers() -> None:
    machine, container = ("machine_memory_available_bytes", ""), ("container_memory_available_bytes", "")
    assert resources(samples_of({machine: [(0, 90), (1, 80)], container: [(0, 20), (1, 30)]}), 0, 1).memory_available_min_bytes == 20
    assert resources(samples_of({machine: [(0, 90), (1, 80)]}), 0, 1).memory_available_min_bytes == 80
    assert resources(samples_of({}), 0, 1).memory_available_min_bytes is None
