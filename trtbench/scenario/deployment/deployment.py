"""A deployment: one named variant of serving an engine, with its servers and its response cache."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from trtbench.scenario.deployment.gpu_settings import GpuName
from trtbench.scenario.deployment.length_classes import Batching, LengthClass
from trtbench.scenario.deployment.tensorrt_llm import LlmApi, TensorRtLlm
from trtbench.scenario.parts.bounds import (
    Bytes,
    CacheMb,
    Count,
    CountOrNone,
    Database,
    Instances,
    Microseconds,
    Port,
    PriorityLevels,
    Servers,
    Threads,
)
from trtbench.scenario.parts.choices import ServerName
from trtbench.scenario.parts.part import Part, worded

_BYTES_PER_MB = 1_000_000
DECOUPLED_REASON = "Response Cache does not currently support model ... with 'decoupled' transaction policy"
"""Triton's message if such a model requests it."""


class LocalCache(Part):
    """A cache in the server's own memory, so every server of a deployment has one of its own. The least recently used answer goes first."""

    kind: Literal["local"]
    size_mb: CacheMb = Field(description="Memory of the cache, in megabytes (1,000,000 bytes).")

    @property
    def label(self) -> str:
        return f"{self.size_mb:.15g}"

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        return (("size", str(max(1, round(self.size_mb * _BYTES_PER_MB)))),)


class RedisCache(Part):
    """A cache in a Redis that is there already: several servers share it, and it outlives them.

    Name and password are read by Triton from TRITONCACHE_REDIS_USERNAME and TRITONCACHE_REDIS_PASSWORD, and are written to no file.
    """

    kind: Literal["redis"]
    host: str = Field(pattern=r"^[A-Za-z0-9_.:-]+$", max_length=253, description="Name or address of the Redis server.")
    port: Port = Field(6379, description="Port of the Redis server.")
    db: Database | None = Field(None, description="Number of the database there; null: the server's default.")

    @property
    def label(self) -> str:
        return f"redis{'' if self.db is None else self.db}"

    @property
    def settings(self) -> tuple[tuple[str, str], ...]:
        return (("host", self.host), ("port", str(self.port)), *((("db", str(self.db)),) if self.db is not None else ()))


ResponseCache = Annotated[LocalCache | RedisCache, Field(discriminator="kind")]


Balancer = Literal["client", "haproxy", "nginx"]


class Replicas(Part):
    """Horizontal scaling of a deployment. One server and balancer client, the default, is Triton as it is."""

    servers: Servers = Field(1, description="Triton processes, each with the whole engine and its own ports and KV cache.")
    balancer: Balancer = Field(
        "client",
        description="What distributes the requests: the load generator in turn, or haproxy or nginx from PATH, in front of the "
        "servers, also of a single one.",
    )
    algorithm: Literal["round_robin", "least_connections"] = Field("round_robin", description="How haproxy or nginx distributes them.")
    gpus: tuple[GpuName, ...] = Field(
        (),
        description="One server for each of these GPUs, which is all it sees (CUDA_VISIBLE_DEVICES): indices as nvidia-smi's, or UUIDs of "
        "GPUs or MIG instances; empty: every server sees all.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Replicas:
        if self.balancer == "client" and self.algorithm != "round_robin":
            raise ValueError(f"algorithm {self.algorithm}: the client deals in turn only; set balancer: haproxy or nginx, or leave it out")
        if len(set(self.gpus)) < len(self.gpus):
            raise ValueError(f"gpus {list(self.gpus)} names a GPU twice: give each server its own")
        if self.gpus and self.servers not in (1, len(self.gpus)):
            raise ValueError(f"servers is {self.servers}, gpus {list(self.gpus)} make {len(self.gpus)}: leave servers out")
        return self

    @property
    def count(self) -> int:
        """The number of servers, given by either key."""
        return len(self.gpus) or self.servers


class QueuePolicy(Part):
    max_queue_size: CountOrNone = Field(0, description="Requests that may wait in Triton's queue; more are rejected. 0: no bound.")
    timeout_us: Microseconds = Field(0, description="Longest wait in Triton's queue, microseconds. 0: no limit.")
    timeout_action: Literal["reject", "delay"] = Field(
        "reject", description="What happens to a request that waited longer than timeout_us."
    )


class DynamicBatching(Part):
    preferred_batch_sizes: tuple[Count, ...] = Field((), description="Batch sizes that Triton's batcher waits for.")
    max_queue_delay_us: Microseconds = Field(0, description="How long the batcher holds a request to make a batch, microseconds.")
    preserve_ordering: bool = Field(False, description="Responses are sent in the order in which the requests arrived.")
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
    max_sequences: Count = Field(32, description="Largest number of requests in the engine's running batch (in-flight batching).")
    max_tokens_per_step: Count = Field(1024, description="Largest number of tokens that the engine computes in one step.")
    chunked_prefill: bool = Field(True, description="Split a long prompt's prefill over several steps.")


class Cpu(Part):
    """What a scenario says of the CPU engine without being the CPU's alone: on a GPU it is left aside."""

    inference_threads: Threads | None = Field(
        None, description="CPU threads of the engine, if the deployment's own inference_threads is not given."
    )


_OF_A_CLASS = (
    (None, "max_batch_size"),
    ("dynamic_batching", "preferred_batch_sizes"),
    ("dynamic_batching", "max_queue_delay_us"),
    ("scheduler", "max_sequences"),
    ("scheduler", "max_tokens_per_step"),
)
"""(Part of the deployment, key) of each setting that a length class may have of its own."""


class Deployment(Part):
    """A named variant of how an engine is served."""

    server: ServerName = Field(
        "triton",
        description="What serves it: triton, with the engine that the scenario's provider builds, or vllm, with the checkpoint itself.",
    )
    max_batch_size: Count = Field(8, description="Largest batch that Triton's batcher forms.")
    dynamic_batching: DynamicBatching | None = Field(DynamicBatching(), description="Triton's dynamic batcher; null: off.")
    instances: Instances = Field(1, description="Model instances.")
    batching: Batching | None = Field(None, description="Length classes of requests, with batching settings of their own; null: none.")
    response_cache: ResponseCache | None = Field(
        None, description="Triton's response cache: {kind: local, size_mb}, or {kind: redis, host, port}; null: off."
    )
    kv_cache: KvCache = KvCache()
    scheduler: Scheduler = Scheduler()
    inference_threads: Threads | None = Field(
        None, description="CPU threads of the engine; default: all cores but one, which is left to the client. Refused on GPUs."
    )
    cpu: Cpu | None = Field(
        None, description="Settings that apply only with the provider openvino, so that one scenario works on CPUs and on GPUs."
    )
    replicas: Replicas = Field(Replicas(), description="Number of Triton servers, and what distributes the requests over them.")
    tensorrt_llm: TensorRtLlm | None = Field(None, description="Settings of the provider tensorrt_llm alone.")
    llmapi: LlmApi | None = Field(None, description="Settings of the provider llmapi alone.")

    @model_validator(mode="after")
    def _one_kv_budget(self) -> Deployment:
        tokens = self.tensorrt_llm.parameters.max_tokens_in_paged_kv_cache if self.tensorrt_llm else None
        if tokens and (self.kv_cache.blocks or self.kv_cache.bytes):
            raise ValueError(
                f"tensorrt_llm.parameters.max_tokens_in_paged_kv_cache = {tokens} is a KV budget in addition to kv_cache.blocks "
                "or kv_cache.bytes: give one"
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

    @model_validator(mode="after")
    def _classes_fit(self) -> Deployment:
        if self.batching is None:
            return self
        if self.batching.instances != self.instances:
            raise ValueError(
                f"batching.classes have {self.batching.instances} instances, the deployment has {self.instances}: set both to the same "
                "number, so that policies are compared on as many engines"
            )
        if self.is_adaptive and self.response_cache:
            raise ValueError("batching.policy adaptive and response_cache exclude each other: measure them one at a time; drop one")
        _ = self.of_classes  # raises if the settings of a class do not fit each other
        return self

    @property
    def is_adaptive(self) -> bool:
        """Whether each length class is served by a model of its own."""
        return self.batching is not None and self.batching.policy == "adaptive"

    @property
    def of_classes(self) -> dict[str, Deployment]:
        """The settings of the model of each length class, by class; {} unless the deployment is adaptive."""
        if self.batching is None or not self.is_adaptive:
            return {}
        return {name: self._of_class(name, one) for name, one in self.batching.in_order.items()}

    def _of_class(self, name: str, one: LengthClass) -> Deployment:
        tree = self.model_dump() | {"batching": None, "instances": one.instances}
        for part, key in _OF_A_CLASS:
            value = getattr(one, key)
            if value is not None:
                if part and tree[part] is None:
                    raise ValueError(f"batching.classes.{name}.{key} = {value}: the deployment's {part} is null; set it, or drop the key")
                (tree[part] if part else tree)[key] = value
        try:
            return Deployment.model_validate(tree)
        except ValidationError as error:
            raise ValueError(f"batching.classes.{name}: {'; '.join(worded(one, Deployment) for one in error.errors())}") from error

    @property
    def bounds_kv(self) -> bool:
        """Whether the KV cache has a size of its own, rather than a share of the GPU memory that happens to be free."""
        tokens = self.tensorrt_llm.parameters.max_tokens_in_paged_kv_cache if self.tensorrt_llm else None
        return bool(self.kv_cache.blocks or self.kv_cache.bytes or tokens)

    @property
    def engines(self) -> int:
        """The number of engines in memory at once, each with its own KV cache: instances of all servers."""
        return self.instances * self.replicas.count


def check_priority_level(deployments: Mapping[str, Deployment], level: int) -> None:
    """ValueError for a deployment that does not have the lowest priority level of the workload; 0 names none."""
    for name, deployment in deployments.items():
        levels = deployment.dynamic_batching.priority_levels if deployment.dynamic_batching else 0
        if level > levels:
            raise ValueError(
                f"workload.priorities names level {level}, deployments.{name}.dynamic_batching.priority_levels is {levels}: "
                "raise priority_levels, or drop the level"
            )
