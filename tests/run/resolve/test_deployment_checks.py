from __future__ import annotations

from typing import Any

import pytest

from tests.support.fakes.fake_gpu import MIG_UUIDS, UUIDS, FakeGpus
from trtbench.engine.build import PROVIDERS
from trtbench.run.resolve import deployment_checks as devices
from trtbench.run.resolve.deployment_checks import check_capacity, check_devices, doubts
from trtbench.run.resolve.resolved import resolve
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario
from trtbench.serving.repository.model_repository import KvBudget
from trtbench.serving.repository.renderers import RENDERERS
from trtbench.system.cuda import CudaGpu

GIB = 2**30
BUDGET = KvBudget(blocks=2**15, block_tokens=32, dtype="fp16", bytes_per_token=2**10, blocks_per_request=4)
"""1 GiB."""
OPENVINO, TENSORRT_LLM = PROVIDERS["openvino"].traits, PROVIDERS["tensorrt_llm"].traits


def deployment(**keys: Any) -> Deployment:
    return Deployment.model_validate(keys)


def test_caches_that_fit_the_machine_are_let_through() -> None:
    check_capacity(deployment(instances=2, replicas={"servers": 2}), BUDGET, OPENVINO, 4 * GIB, [], "")


@pytest.mark.parametrize(
    ("keys", "provider", "gpus", "says"),
    [
        (
            {"instances": 2, "replicas": {"servers": 3}},
            "openvino",
            [],
            "3 servers x 2 instances x 1024 MiB .* 6144 MiB, the machine has 4096",
        ),
        ({"replicas": {"gpus": [0, 2]}}, "tensorrt_llm", [0, 1], r"replicas.gpus = \[0, 2\]: this machine has 0, 1;"),
        ({"replicas": {"gpus": [0]}}, "llmapi", [], r"shows none \(no driver\)"),
        ({"replicas": {"gpus": [0]}}, "openvino", [0], "the CPU engine uses none"),
    ],
)
def test_what_the_machine_cannot_hold_is_refused(keys: dict[str, Any], provider: str, gpus: list[int], says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        check_capacity(deployment(**keys), BUDGET, PROVIDERS[provider].traits, 4 * GIB, gpus, "no driver")


def test_servers_that_share_gpus_each_need_a_cache_of_known_size() -> None:
    two = {"replicas": {"servers": 2}}
    with pytest.raises(ScenarioError, match=r"replicas\.servers = 2 on the same GPUs"):
        check_capacity(deployment(**two), BUDGET, TENSORRT_LLM, 4 * GIB, [0], "")
    check_capacity(deployment(**two, kv_cache={"blocks": 64}), BUDGET, TENSORRT_LLM, 4 * GIB, [0], "")
    bounded = {"parameters": {"max_tokens_in_paged_kv_cache": 4096}}
    check_capacity(deployment(**two, tensorrt_llm=bounded), BUDGET, TENSORRT_LLM, 4 * GIB, [0], "")
    check_capacity(deployment(replicas={"gpus": [0, 1]}), BUDGET, TENSORRT_LLM, 4 * GIB, [0, 1], "")


def test_threads_beyond_the_cores_are_doubted() -> None:
    assert "cannot show scaling" in next(doubts(deployment(inference_threads=4), OPENVINO, 2))
    assert "share cores" in next(doubts(deployment(inference_threads=2, replicas={"servers": 2}), OPENVINO, 2))
    assert list(doubts(deployment(inference_threads=1, instances=2), OPENVINO, 2)) == []
    assert list(doubts(deployment(inference_threads=64), TENSORRT_LLM, 2)) == []


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


CLASSES = {"instances": 2, "batching": {"classes": {"short": {"upto_input_tokens": 64}, "long": {"max_sequences": 2}}}}
LOAD = [{"concurrency": 1, "requests": 9}]


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"load": LOAD, "workload": {"sessions": {"turns": 2}}}, "not those of workload.sessions: drop one"),
        ({"context_limit": {}}, "batching and context_limit exclude each other"),
        ({"load": LOAD, "task": "embed", "model": "minilm-l6-v2"}, "batching.classes.long: max_sequences .* mean nothing with task embed"),
    ],
)
def test_length_classes_need_independent_requests_of_a_plan(keys: dict[str, Any], says: str) -> None:
    scenario = parse_scenario({"name": "x", "provider": "openvino", "deployments": {"a": CLASSES}} | keys, "x.yaml")
    with pytest.raises(ScenarioError, match=says):
        resolve(scenario)


@pytest.mark.parametrize("provider", ["tensorrt_llm", "llmapi", "vllm", "tensorrt"])
def test_engines_behind_one_model_refuse_adaptive_deployments(provider: str) -> None:
    reason = RENDERERS[provider].no_length_classes
    assert reason and reason.endswith(("set policy one_size", "as scenarios of their own"))
    assert RENDERERS["openvino"].no_length_classes is None
