"""Which GPUs a server may be given: by their UUIDs, and inside what this process was left."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake_gpu import MIG_UUIDS, UUIDS, FakeGpus
from trtbench.run.resolve import devices
from trtbench.run.resolve.devices import check_devices
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.parts.part import ScenarioError
from trtbench.system.cuda import CudaGpu

NAMES: dict[int | str, str] = {0: UUIDS[0], UUIDS[0]: UUIDS[0], 1: UUIDS[1], UUIDS[1]: UUIDS[1], **{one: one for one in MIG_UUIDS}}


def check(monkeypatch: pytest.MonkeyPatch, shown: list[str], ranks: int = 1, variable: str | None = None, **deployment: Any) -> None:
    visible = tuple(CudaGpu("H100", 90, 80 << 30, 70 << 30, uuid.partition("-")[2]) for uuid in shown)
    monkeypatch.setattr(devices, "visible_gpus", lambda: visible)
    if variable is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", variable)
    check_devices(Deployment.model_validate(deployment), ranks, NAMES)


def gpus(*names: int | str) -> dict[str, Any]:
    return {"gpus": list(names)}


@pytest.mark.parametrize(
    ("shown", "variable", "names"),
    [
        (UUIDS, None, (0, 1)),
        (UUIDS[1:], "1", (1,)),  # CUDA's answer decides: 1 may be another of its own order
        (UUIDS[1:], "0", (1,)),
        ((), "GPU-00000001", (1,)),  # a UUID's beginning
        (MIG_UUIDS[:1], ",".join(MIG_UUIDS), MIG_UUIDS),  # CUDA shows the first alone, each server is given one
    ],
)
def test_inside(monkeypatch: pytest.MonkeyPatch, shown: Any, variable: str | None, names: Any) -> None:
    check(monkeypatch, list(shown), variable=variable, replicas=gpus(*names))


@pytest.mark.parametrize(("shown", "variable"), [(UUIDS[:1], "0"), (UUIDS[:1], "GPU-00000000"), ((), "")])
def test_outside(monkeypatch: pytest.MonkeyPatch, shown: Any, variable: str) -> None:
    with pytest.raises(ScenarioError, match=f"replicas.gpus: {UUIDS[1]} is not among those that CUDA_VISIBLE_DEVICES={variable} leaves"):
        check(monkeypatch, list(shown), variable=variable, replicas=gpus(1))


def test_one_gpu_by_two_names(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ScenarioError, match="name one by index and by UUID"):
        check(monkeypatch, list(UUIDS), replicas=gpus(0, UUIDS[0]))


def test_a_rank_has_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    check(monkeypatch, list(UUIDS), ranks=2)
    check(monkeypatch, [], ranks=4)  # no driver to ask: nothing is known
    with pytest.raises(ScenarioError, match=r"the engine has 4 ranks, which take a GPU each, and CUDA shows 2 "):
        check(monkeypatch, list(UUIDS), ranks=4)
    with pytest.raises(ScenarioError, match=r"gpu_device_ids names \[2\], and CUDA shows 2 "):
        check(monkeypatch, list(UUIDS), ranks=2, tensorrt_llm={"parameters": {"gpu_device_ids": [0, 2]}})


ASK = """
from trtbench.gpu.inventory import cuda_devices
[[key, value] for key, value in cuda_devices().items()]
"""


def test_names_are_nvmls(fake_gpus: FakeGpus) -> None:
    """And none is lost: a GPU that is divided has no server, its instances have."""
    names = [[key, uuid] for index, uuid in enumerate(UUIDS) for key in (index, uuid)]
    assert fake_gpus.ask(ASK) == names
    fake_gpus["g0_mig"] = 1
    divided = fake_gpus.ask(ASK)
    assert divided[-2:] == names[-2:] and [0, UUIDS[0]] not in divided
    assert [pair[0] for pair in divided[:-2]] and all(key == name and key.startswith("MIG-") for key, name in divided[:-2])
