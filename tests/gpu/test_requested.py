"""What is asked is held against what the GPUs can do, before anything is set."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fakes.fake_gpu import MIG_UUIDS, UUIDS, FakeGpus

RESOLVE = """
from trtbench.gpu.inventory import GpuError, session
from trtbench.gpu.requested import check, resolve
from trtbench.scenario.deployment.gpu_settings import GpuControl
def resolved(asked):
    with session() as gpus:
        try:
            asked = GpuControl(**asked)
            all_requested = resolve(asked, gpus)
            check(asked, all_requested)
            return [[requested.device.uuid, dict(requested.settings)] for requested in all_requested]
        except GpuError as error:
            return str(error)
"""


def resolved(gpus: FakeGpus, **asked: Any) -> Any:
    return gpus.ask(RESOLVE + f"resolved({asked!r})")


def test_every_gpu_unless_some_are_named(fake_gpus: FakeGpus) -> None:
    assert resolved(fake_gpus) == [[UUIDS[0], {}], [UUIDS[1], {}]]
    assert resolved(fake_gpus, devices=[1]) == [[UUIDS[1], {}]]
    assert resolved(fake_gpus, devices=[UUIDS[0]]) == [[UUIDS[0], {}]]


def test_values_as_nvml_takes_them_in_the_order_of_setting(fake_gpus: FakeGpus) -> None:
    asked = {"sm_clock_mhz": "max", "memory_clock_mhz": "max", "power_limit_w": 450.5, "persistence_mode": True}
    ((_, settings),) = resolved(fake_gpus, devices=[0], compute_mode="default", **asked)
    assert list(settings.items()) == [
        ("persistence_mode", 1),
        ("compute_mode", "default"),
        ("power_limit_mw", 450_500),
        ("memory_clock_mhz", 2619),
        ("sm_clock_mhz", 1980),
    ]


def test_the_highest_sm_clock_is_that_of_the_asked_memory_clock(fake_gpus: FakeGpus) -> None:
    ((_, settings),) = resolved(fake_gpus, devices=[0], sm_clock_mhz="max", memory_clock_mhz=1593)
    assert settings["sm_clock_mhz"] == 1410


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"devices": [4]}, "gpu.devices: there is no GPU 4; the GPUs are 0 (Fake GPU 0, GPU-00000000"),
        ({"devices": [0, UUIDS[0]]}, "by index and by UUID: name it once"),
        (
            {"sm_clock_mhz": 1400},
            "gpu.sm_clock_mhz: GPU 0 (Fake GPU 0) has no clock of 1400 MHz; the nearest is 1410, the range 345 to 1980",
        ),
        ({"memory_clock_mhz": 2000}, "the nearest is 1593"),
        ({"power_limit_w": 900}, "gpu.power_limit_w: GPU 0 (Fake GPU 0) takes 200 to 700 W, not 900"),
        ({"devices": [1], "power_limit_w": 300}, "GPU 1 (Fake GPU 1) has no power limit that can be set: leave it out"),
        ({"memory_ballast_gib": 21}, "gpu.memory_ballast_gib: GPU 0 has 20.0 GiB free, 21 GiB are requested"),
        ({"memory_leave_free_gib": 21}, "gpu.memory_leave_free_gib: GPU 0 has 20.0 GiB free, 21 GiB are requested"),
    ],
)
def test_refusals_name_key_value_and_remedy(fake_gpus: FakeGpus, asked: dict[str, Any], said: str) -> None:
    assert said in resolved(fake_gpus, **asked)


def test_a_gpu_that_does_not_list_its_clocks(fake_gpus: FakeGpus) -> None:
    said = fake_gpus.ask(RESOLVE + "resolved({'sm_clock_mhz': 1410})", FAKE_NVML_FAIL="nvmlDeviceGetSupportedMemoryClocks=3")
    assert "does not list the clocks it supports: leave it out" in said


def test_mig_instances_have_memory_but_no_clocks_of_their_own(fake_gpus: FakeGpus) -> None:
    fake_gpus["g0_mig"] = 1
    assert resolved(fake_gpus, devices=[MIG_UUIDS[1]], memory_ballast_gib=2) == [[MIG_UUIDS[1], {}]]
    said = resolved(fake_gpus, devices=[MIG_UUIDS[1]], power_limit_w=300)
    assert f"{MIG_UUIDS[1]} is a MIG instance, but clocks, power limit and modes apply to the whole GPU: name GPU 0" in said
    assert "divided into MIG instances: name the instance" in resolved(fake_gpus, devices=[0], memory_ballast_gib=2)


def test_a_driver_without_gpus(fake_gpus: FakeGpus) -> None:
    assert "shows no GPU" in fake_gpus.ask(RESOLVE + "resolved({})", FAKE_NVML_GPUS="0")
