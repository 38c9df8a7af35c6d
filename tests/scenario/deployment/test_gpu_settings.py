from __future__ import annotations

from typing import Any

import pytest

from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario


def parsed(**gpu: Any) -> Any:
    return parse_scenario({"name": "x", "load": [{"concurrency": 1, "requests": 1}], "gpu": gpu}, "test").gpu


def test_all_that_can_be_asked_survives_the_effective_scenario() -> None:
    asked = {
        "devices": [0, "GPU-1d2c3b4a-0000-1111-2222-333344445555", "MIG-1d2c3b4a-0000-1111-2222-333344445555"],
        "sm_clock_mhz": "base",
        "memory_clock_mhz": 2619,
        "power_limit_w": 500,
        "persistence_mode": True,
        "compute_mode": "default",
        "memory_leave_free_gib": 20,
        "cool_down": {"temperature_c": 50},
        "require_idle": False,
    }
    gpu = parsed(**asked)
    assert gpu.cool_down.timeout_s == 300
    assert gpu.holds_memory
    assert parsed(**gpu.model_dump(mode="json")) == gpu


def test_without_it_gpus_are_left_alone() -> None:
    assert parse_scenario({"name": "x", "load": [{"concurrency": 1, "requests": 1}]}, "test").gpu is None
    assert parsed().require_idle


@pytest.mark.parametrize(
    ("gpu", "said"),
    [
        ({"devices": [0, 0]}, r"gpu: devices \[0, 0\] names one twice"),
        ({"devices": []}, "gpu.devices"),
        ({"devices": ["GPU-../../etc"]}, "gpu.devices"),
        ({"devices": [-1]}, "gpu.devices"),
        ({"sm_clock_mhz": 0}, "gpu.sm_clock_mhz"),
        ({"sm_clock_mhz": "fast"}, "gpu.sm_clock_mhz"),
        ({"power_limit_w": -5}, "gpu.power_limit_w"),
        ({"compute_mode": "prohibited"}, "gpu.compute_mode"),
        ({"memory_ballast_gib": 1, "memory_leave_free_gib": 1}, "not both"),
        ({"compute_mode": "exclusive_process", "memory_ballast_gib": 1}, "the ballast's would be it: leave out"),
        ({"cool_down": {"temperature_c": 5}}, "gpu.cool_down.temperature_c"),
        ({"clock": 1}, "gpu.clock"),
    ],
)
def test_what_makes_no_sense_is_named(gpu: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError, match=said):
        parsed(**gpu)
