"""How vLLM serves a checkpoint: the flags of `vllm serve` in place of a model repository."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from trtbench.engine.spec import Engine, ModelFacts
from trtbench.engine.vllm_provider import CHECKPOINT
from trtbench.scenario.deployment.deployment import Deployment, DynamicBatching
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository.model_repository import KvBudget, RenderedRepository, check_positions, default_inference_threads
from trtbench.serving.repository.renderer import Renderer
from trtbench.serving.server.launch import Launch

_DTYPES = {"fp16": "float16", "bf16": "bfloat16"}
_LOAD_S = 900.0
"""The time limit for importing PyTorch and loading the weights, on a busy machine and from a slow disk."""


@dataclass(frozen=True)
class RenderedCheckpoint(RenderedRepository):
    """A checkpoint, which vLLM reads where it lies. `source` is its directory."""

    def write(self, directory: Path) -> Path:
        """Write nothing; returns the checkpoint."""
        return self.source


def kv_budget(facts: ModelFacts, block_tokens: int, deployment: Deployment, workload: Workload) -> KvBudget:
    """The deployment's KV cache, by default for all sequences of the scheduler; ScenarioError for what vLLM cannot serve here."""
    for problem in _problems(deployment, workload):
        raise ScenarioError(problem)
    check_positions(workload, facts.max_positions)
    per_request = -(-workload.longest_request_tokens // block_tokens)
    bytes_per_token = facts.kv_bytes_per_token("fp16")
    blocks = deployment.kv_cache.blocks or per_request * deployment.scheduler.max_sequences
    if deployment.kv_cache.bytes:
        blocks = deployment.kv_cache.bytes // (bytes_per_token * block_tokens)
    return KvBudget(blocks, block_tokens, "fp16", bytes_per_token, per_request).fitting()


def render(engine: Engine, deployment: Deployment, workload: Workload) -> RenderedRepository:
    """The flags for `engine` as `deployment`; ScenarioError if it cannot be served so."""
    kv = kv_budget(engine.model_facts, engine.kv_block_tokens, deployment, workload)
    positions = workload.longest_request_tokens
    assert kv.blocks is not None, "the budget always has a number of blocks"
    kv_bytes = (kv.blocks + 1) * kv.block_tokens * kv.bytes_per_token  # vLLM keeps a block for padding
    scheduler = deployment.scheduler
    flags = (
        *("--served-model-name", engine.model, "--dtype", _DTYPES[engine.dtype], "--max-model-len", str(positions)),
        *("--max-num-seqs", str(scheduler.max_sequences), "--max-num-batched-tokens", str(scheduler.max_tokens_per_step)),
        *("--block-size", str(kv.block_tokens), "--kv-cache-memory-bytes", str(kv_bytes)),
        f"--{'' if deployment.kv_cache.prefix_caching else 'no-'}enable-prefix-caching",
        f"--{'' if scheduler.chunked_prefill else 'no-'}enable-chunked-prefill",
    )
    return RenderedCheckpoint(
        model_name=engine.model,
        config="",
        config_file=None,
        source=Path(engine.options[CHECKPOINT]),
        kv=kv,
        server_flags=flags,
        launch=Launch(ready_timeout_s=_LOAD_S, environment={"VLLM_CPU_OMP_THREADS_BIND": _cores(deployment)}),
        served=deployment.model_copy(update={"dynamic_batching": None, "server": RENDERER.server}),
        positions=positions,
    )


def _problems(deployment: Deployment, workload: Workload) -> Iterator[str]:
    """What the deployment asks of a Triton, and vLLM does not have."""
    if deployment.instances != 1:
        yield f"instances = {deployment.instances}: a vLLM server has one engine; scale with replicas.servers"
    if deployment.replicas.balancer != "client":
        yield f"replicas.balancer = {deployment.replicas.balancer}: it balances gRPC, and vLLM speaks HTTP; leave it out"
    if deployment.response_cache:
        yield "response_cache: vLLM has none; set it to null"
    if deployment.dynamic_batching not in (None, DynamicBatching()):
        yield "dynamic_batching: vLLM has no batcher in front of its engine; set it to null"
    if deployment.kv_cache.dtype not in ("auto", "fp16"):
        yield f"kv_cache.dtype = {deployment.kv_cache.dtype!r}: vLLM's KV cache has the type of the weights here; leave it out"
    if workload.lowest_priority_level:
        yield "workload.priorities: vLLM's endpoint is not sent any; drop them"
    scheduler = deployment.scheduler
    if not scheduler.chunked_prefill and scheduler.max_tokens_per_step < workload.longest_request_tokens:
        yield (
            f"scheduler.max_tokens_per_step = {scheduler.max_tokens_per_step} is under the workload's longest request "
            f"({workload.longest_request_tokens}), which vLLM needs without chunked_prefill: raise it, or set chunked_prefill: true"
        )


def _cores(deployment: Deployment) -> str:
    """The cores of the CPU build's inference threads, the first of those that this process may use; the GPU build ignores them."""
    threads = deployment.inference_threads or default_inference_threads()
    return ",".join(map(str, sorted(os.sched_getaffinity(0))[:threads]))


RENDERER = Renderer(
    kv_budget,
    render,
    server="vllm",
    no_reload=lambda deployment: "vLLM reloads no model while it serves",
    no_length_classes="a vLLM server has one model, whose engine batches in flight: set policy one_size",
)
