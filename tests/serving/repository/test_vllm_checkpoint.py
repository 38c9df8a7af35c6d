"""The flags of `vllm serve` that a deployment becomes, and what of a deployment vLLM cannot serve."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.engines.trtllm_engines import FACTS, engine_of
from trtbench.engine.build import PROVIDERS
from trtbench.engine.spec import EngineSpec
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository.model_repository import RenderedRepository
from trtbench.serving.repository.renderers import RENDERERS, kv_budget, render
from trtbench.serving.server.server_kinds import SERVERS

WORKLOAD = Workload.model_validate({"input_tokens": 100, "output_tokens": 28})


def rendered(tmp_path: Path, **deployment: Any) -> RenderedRepository:
    engine = engine_of(tmp_path / "engine", "vllm", "-", checkpoint=str(tmp_path / "checkpoint"))
    return render(engine, Deployment.model_validate({"server": "vllm", **deployment}), WORKLOAD)


def flags(repository: RenderedRepository) -> dict[str, str]:
    names = [flag for flag in repository.server_flags if flag.startswith("--")]
    words = list(repository.server_flags)
    return {name: "" if words[at].startswith("--") else words[at] for name in names for at in [(words.index(name) + 1) % len(words)]}


def test_a_deployment_becomes_flags(tmp_path: Path) -> None:
    asked = {"kv_cache": {"blocks": 40, "prefix_caching": True}, "scheduler": {"max_sequences": 6, "max_tokens_per_step": 256}}
    assert flags(rendered(tmp_path, **asked, inference_threads=1)) == {
        "--served-model-name": "llama",
        "--dtype": "float16",
        "--max-model-len": "128",
        "--max-num-seqs": "6",
        "--max-num-batched-tokens": "256",
        "--block-size": "32",
        "--kv-cache-memory-bytes": str(41 * 32 * FACTS.kv_bytes_per_token("fp16")),
        "--enable-prefix-caching": "",
        "--enable-chunked-prefill": "",
    }


def test_provider_vllm_records_the_server_that_serves(tmp_path: Path) -> None:
    served = rendered(tmp_path, server="triton").served
    assert served and served.server == "vllm"


def test_the_checkpoint_is_served_where_it_lies(tmp_path: Path) -> None:
    repository = rendered(tmp_path, inference_threads=1)
    assert repository.write(tmp_path / "models") == tmp_path / "checkpoint"
    assert not (tmp_path / "models").exists() and repository.config_file is None
    assert repository.launch.environment["VLLM_CPU_OMP_THREADS_BIND"].isdecimal(), "one thread, one core"


def test_the_budget_is_what_the_deployment_asks_for() -> None:
    def blocks(**kv_cache: int) -> int | None:
        deployment = Deployment.model_validate({"server": "vllm", "kv_cache": kv_cache, "scheduler": {"max_sequences": 3}})
        return kv_budget("vllm", FACTS, 32, deployment, WORKLOAD).blocks

    assert blocks() == 3 * 4, "without a budget, every sequence has the longest request"
    assert blocks(blocks=50) == 50
    assert blocks(bytes=10 * 32 * FACTS.kv_bytes_per_token("fp16")) == 10


@pytest.mark.parametrize(
    ("deployment", "says"),
    [
        ({"instances": 2}, "instances = 2: a vLLM server has one engine; scale with replicas.servers"),
        ({"replicas": {"servers": 2, "balancer": "haproxy"}}, "replicas.balancer = haproxy: it balances gRPC"),
        ({"response_cache": {"kind": "local", "size_mb": 1}}, "response_cache: vLLM has none"),
        ({"dynamic_batching": {"max_queue_delay_us": 5}}, "dynamic_batching: vLLM has no batcher"),
        ({"kv_cache": {"dtype": "int8"}}, "kv_cache.dtype = 'int8'"),
        (
            {"scheduler": {"chunked_prefill": False, "max_tokens_per_step": 100}},
            "scheduler.max_tokens_per_step = 100 is under",
        ),
        ({"kv_cache": {"blocks": 3}}, "is under one request of the workload"),
    ],
)
def test_what_vllm_does_not_have_is_refused(tmp_path: Path, deployment: dict[str, Any], says: str) -> None:
    with pytest.raises(ScenarioError) as raised:
        rendered(tmp_path, **deployment)
    assert says in str(raised.value)


def test_only_checkpoints_without_quantisation_are_served() -> None:
    provider = PROVIDERS["vllm"]
    assert [provider.refusal(EngineSpec(model="m", dtype=dtype)) for dtype in ("fp16", "bf16")] == [None, None]
    assert "fp16 or bf16, not int8" in str(provider.refusal(EngineSpec(model="m", dtype="int8")))
    assert "build.tp" in str(provider.refusal(EngineSpec.model_validate({"model": "m", "build": {"tp": 2}})))


def test_every_renderer_names_a_server_that_can_be_started() -> None:
    assert {renderer.server for renderer in RENDERERS.values()} == set(SERVERS)
