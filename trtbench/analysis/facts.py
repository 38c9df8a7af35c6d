"""Facts of a deployment other than measurements: deployment.json and engine.json. A fact that a run does not have is None."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from trtbench.rundir.deployment_facts import DeploymentFile, EndpointFacts, EngineFile, ServedClass, Tree
from trtbench.rundir.event_kinds import IF_KNOWN
from trtbench.rundir.traits import Traits, read_traits
from trtbench.tasks.task import Task

NO_FIGURE = {"figure": False}
"""Metadata of a field that summary.json leaves out."""


@dataclass(frozen=True, slots=True)
class DeploymentFacts:
    """Facts of one deployment. `deployment` and `dtype` name the variant; every other field is None if an external server does not report
    it.
    """

    deployment: str
    dtype: str | None
    mode: str
    provider: str | None  # its name, to be shown; what follows from it is in `traits`
    model: str | None
    model_name: str | None
    model_version: str | None
    max_batch_size: int | None
    max_sequences: int | None
    dynamic_batching: Tree | None
    inference_threads: int | None
    prefix_caching: bool
    kv_blocks: int | None
    kv_dtype: str | None
    kv_block_tokens: int | None
    kv_bytes_per_token: int | None
    plan_sha256: str | None
    triton_version: str | None
    server_flags: tuple[str, ...]
    load_s: float | None
    servers: int
    balancer: str | None
    balancer_version: str | None
    instances: int
    engine_sha256: str | None
    engine_size_bytes: int | None
    engine_weights_dtype: str | None
    engine_build_s: float | None
    padded_to_tokens: int | None
    config: Tree
    engine: Tree
    log: Tree = field(default_factory=dict)  # what the server said of itself while it loaded
    tokens: Tree = field(default_factory=dict)  # how they are counted; empty in runs that did not ask, all by ids
    kv_sized: bool = field(default=False, metadata=NO_FIGURE)  # whether the configuration sets the size of the KV cache
    traits: Traits = field(default_factory=Traits, metadata=NO_FIGURE)
    decoupled: bool | None = field(default=None, metadata=NO_FIGURE)  # whether a request gets several responses; None: the task says it
    server_name: str | None = field(default=None, metadata=NO_FIGURE)
    length_classes: tuple[ServedClass, ...] = field(default=(), metadata=NO_FIGURE)  # from the shortest inputs to the longest
    endpoint: EndpointFacts | None = field(default=None, metadata=IF_KNOWN)  # of a server that is measured over HTTP
    unanswered: Mapping[str, str] = field(default_factory=dict)  # calls that an existing server did not answer, and why

    def streams(self, task: Task) -> bool:
        """Whether a request gets several responses, by the model or else by its task."""
        return task.streams_tokens if self.decoupled is None else self.decoupled

    @property
    def queue_delay_us(self) -> int:
        """The longest time that Triton's dynamic batcher holds a request; 0 without a dynamic batcher."""
        delay = (self.dynamic_batching or {}).get("max_queue_delay_us")
        return delay if isinstance(delay, int) else 0

    @property
    def engines(self) -> int:
        """The number of engines that run at once, each with its own threads and running batch."""
        return self.instances * self.servers

    @property
    def kv_holds_all_sequences(self) -> bool:
        """Whether the KV cache was sized for a full running batch of the longest requests. If it is full, the running batch is what is
        full.
        """
        sized = self.config.get("kv_cache") is not None and not self.kv_sized
        return self.mode == "own" and self.traits.sizes_kv_for_all_sequences and sized

    @property
    def may_cache_prefixes(self) -> bool:
        """Whether used blocks may be cached ones: with prefix caching, or if an external server does not report it."""
        return self.prefix_caching or self.mode != "own"

    @property
    def counts_cached_blocks(self) -> bool:
        """Whether the gauge of used blocks may include cached blocks, which the engine would free when needed."""
        return self.may_cache_prefixes and not (self.mode == "own" and self.traits.kv_gauge_omits_cached)


def deployment_facts(name: str, deployment: DeploymentFile, engine: EngineFile) -> DeploymentFacts:
    """The facts of the deployment directory `name`. Fields of both files may be missing."""
    served = deployment.served
    steps, provider = engine.build_steps, deployment.provider or engine.provider
    return DeploymentFacts(
        deployment=deployment.deployment or name,
        dtype=deployment.dtype or engine.dtype,
        mode=deployment.mode or "own",
        provider=provider,
        model=engine.model,
        model_name=deployment.model_name,
        model_version=deployment.model_version,
        max_batch_size=deployment.max_batch_size or served.max_batch_size,
        max_sequences=served.scheduler.max_sequences if served.scheduler else None,
        dynamic_batching=served.dynamic_batching,
        inference_threads=served.inference_threads,
        prefix_caching=bool(served.kv_cache and served.kv_cache.prefix_caching),
        kv_blocks=deployment.kv_blocks,
        kv_dtype=deployment.kv_dtype,
        kv_block_tokens=deployment.kv_block_tokens,
        kv_bytes_per_token=deployment.kv_bytes_per_token,
        plan_sha256=deployment.plan_sha256,
        triton_version=deployment.triton_version,
        server_flags=tuple(deployment.server_flags or ()),
        load_s=deployment.load_seconds,
        servers=deployment.servers or 1,
        balancer=served.replicas.balancer if served.replicas else None,
        balancer_version=deployment.balancer_version,
        instances=served.instances or 1,
        engine_sha256=engine.sha256,
        engine_size_bytes=engine.size_bytes,
        engine_weights_dtype=engine.weights_dtype,
        engine_build_s=sum(step.seconds for step in steps) if steps else None,
        padded_to_tokens=deployment.padded_to_tokens,
        config=deployment.config or {},
        engine=engine.tree or {},
        log=deployment.log or {},
        tokens=deployment.tokens or {},
        kv_sized=bool(served.kv_cache and (served.kv_cache.blocks or served.kv_cache.bytes)),
        traits=read_traits(deployment.traits, provider),
        server_name=deployment.server_name,
        endpoint=deployment.endpoint,
        length_classes=tuple(deployment.length_classes or ()),
        unanswered=deployment.unanswered_calls or {},
        decoupled=deployment.decoupled,
    )
