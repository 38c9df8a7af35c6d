from __future__ import annotations

from typing import Any

import pytest

from trtbench.engine.build import PROVIDERS
from trtbench.run.resolve.deployment_checks import check_capacity, doubts
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.parts.part import ScenarioError
from trtbench.serving.repository.model_repository import KvBudget

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
