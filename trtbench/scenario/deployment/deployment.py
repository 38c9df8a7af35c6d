"""How an engine is served: one named variant."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from trtbench.scenario.deployment.replicas import Replicas
from trtbench.scenario.deployment.response_cache import ResponseCache
from trtbench.scenario.deployment.tensorrt_llm import LlmApi, TensorRtLlm
from trtbench.scenario.parts.bounds import Bytes, Count, CountOrNone, Instances, Microseconds, PriorityLevels, Threads
from trtbench.scenario.parts.part import Part


class QueuePolicy(Part):
    max_queue_size: CountOrNone = Field(0, description="Requests that may wait in Triton's queue; more are rejected. 0: no bound.")
    timeout_us: Microseconds = Field(0, description="Longest wait in Triton's queue, microseconds. 0: no limit.")
    timeout_action: Literal["reject", "delay"] = Field("reject", description="What becomes of a request whose wait is over.")


class DynamicBatching(Part):
    preferred_batch_sizes: tuple[Count, ...] = Field((), description="Sizes that Triton's batcher waits for.")
    max_queue_delay_us: Microseconds = Field(0, description="How long the batcher holds a request to make a batch, microseconds.")
    preserve_ordering: bool = Field(False, description="Responses leave in the order the requests came.")
    priority_levels: PriorityLevels = Field(0, description="Number of priority levels; 0: one queue, no priorities.")
    default_priority_level: PriorityLevels = Field(0, description="Level of a request that names none; 1 is the highest.")
    queue_policy: QueuePolicy = QueuePolicy()

    @model_validator(mode="after")
    def _priorities(self) -> DynamicBatching:
        if bool(self.priority_levels) != bool(self.default_priority_level) or self.default_priority_level > self.priority_levels:
            raise ValueError(
                f"default_priority_level ({self.default_priority_level}) must lie in 1..priority_levels ({self.priority_levels}); "
                "set both, or neither"
            )
        if self.preserve_ordering and self.priority_levels > 1:
            raise ValueError(f"preserve_ordering allows one priority level only, priority_levels is {self.priority_levels}")
        return self


class KvCache(Part):
    blocks: Count | None = Field(None, description="KV cache budget in blocks. Give blocks or bytes; neither: the provider's default.")
    bytes: Bytes | None = Field(None, description="KV cache budget in bytes.")
    dtype: Literal["auto", "fp16", "int8", "fp8"] = Field("auto", description="Type of the cached keys and values; auto: fp16.")
    prefix_caching: bool = Field(False, description="Keep and reuse KV blocks of common prompt prefixes.")

    @model_validator(mode="after")
    def _one_budget(self) -> KvCache:
        if self.blocks and self.bytes:
            raise ValueError("give blocks or bytes, not both")
        return self


class Scheduler(Part):
    max_sequences: Count = Field(32, description="Most requests in the engine's running batch (in-flight batching).")
    max_tokens_per_step: Count = Field(1024, description="Most tokens computed in one engine step.")
    chunked_prefill: bool = Field(True, description="Split a long prompt's prefill over several steps.")


class Cpu(Part):
    """What a scenario says of the CPU engine without being the CPU's alone: on a GPU it is left aside."""

    inference_threads: Threads | None = Field(None, description="As the deployment's own inference_threads, where that is left out.")


class Deployment(Part):
    """One named variant of how an engine is served."""

    max_batch_size: Count = Field(8, description="Largest batch that Triton's batcher forms.")
    dynamic_batching: DynamicBatching | None = Field(DynamicBatching(), description="Triton's dynamic batcher; null: off.")
    instances: Instances = Field(1, description="Model instances.")
    response_cache: ResponseCache | None = Field(
        None, description="Triton's response cache: {kind: local, size_mb}, or {kind: redis, host, port}; null: off."
    )
    kv_cache: KvCache = KvCache()
    scheduler: Scheduler = Scheduler()
    inference_threads: Threads | None = Field(
        None, description="CPU threads of the engine; default: all cores but one, which is left to the client. Refused on GPUs."
    )
    cpu: Cpu | None = Field(
        None, description="Holds where the provider is openvino and is left aside on GPUs, so that one scenario serves both."
    )
    replicas: Replicas = Field(Replicas(), description="How many Triton servers, and who spreads the requests over them.")
    tensorrt_llm: TensorRtLlm | None = Field(None, description="Settings of the provider tensorrt_llm alone.")
    llmapi: LlmApi | None = Field(None, description="Settings of the provider llmapi alone.")

    @model_validator(mode="after")
    def _one_kv_budget(self) -> Deployment:
        tokens = self.tensorrt_llm.parameters.max_tokens_in_paged_kv_cache if self.tensorrt_llm else None
        if tokens and (self.kv_cache.blocks or self.kv_cache.bytes):
            raise ValueError(
                f"tensorrt_llm.parameters.max_tokens_in_paged_kv_cache = {tokens} is a KV budget beside kv_cache.blocks or kv_cache.bytes: "
                "give one"
            )
        return self

    @model_validator(mode="after")
    def _preferred_fit(self) -> Deployment:
        preferred = self.dynamic_batching.preferred_batch_sizes if self.dynamic_batching else ()
        if preferred and max(preferred) > self.max_batch_size:
            raise ValueError(
                f"dynamic_batching.preferred_batch_sizes {list(preferred)} go over max_batch_size ({self.max_batch_size}): "
                "raise max_batch_size or drop the larger sizes"
            )
        return self

    @property
    def bounds_kv(self) -> bool:
        """Whether the KV cache has a size of its own, and is not a share of the GPU memory that happens to be free."""
        tokens = self.tensorrt_llm.parameters.max_tokens_in_paged_kv_cache if self.tensorrt_llm else None
        return bool(self.kv_cache.blocks or self.kv_cache.bytes or tokens)

    @property
    def engines(self) -> int:
        """Engines in memory at once, each with its own KV cache: instances of all servers."""
        return self.instances * self.replicas.count
