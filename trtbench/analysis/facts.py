"""What is known of a deployment apart from its measurements: deployment.json and engine.json, None where a run has no such fact."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from trtbench.rundir.traits import Traits, read_traits

NO_FIGURE = {"figure": False}
"""Metadata of a field that summary.json leaves out."""


@dataclass(frozen=True, slots=True)
class DeploymentFacts:
    """`deployment` and `dtype` name the variant; the rest is None for an external server that does not tell."""

    deployment: str
    dtype: str | None
    mode: str
    provider: str | None  # its name, to be shown; what follows from it is in `traits`
    model: str | None
    model_name: str | None
    model_version: str | None
    max_batch_size: int | None
    max_sequences: int | None
    dynamic_batching: dict[str, Any] | None
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
    config: dict[str, Any]
    engine: dict[str, Any]
    log: dict[str, Any] = field(default_factory=dict)  # what the server said of itself while it loaded
    tokens: dict[str, Any] = field(default_factory=dict)  # how they are counted; empty in runs that did not ask, all by ids
    traits: Traits = field(default_factory=Traits, metadata=NO_FIGURE)
    unanswered: dict[str, Any] = field(default_factory=dict)  # calls that somebody else's server did not answer, and why

    @property
    def engines(self) -> int:
        """Engines at once, each with its own threads and running batch."""
        return self.instances * self.servers

    @property
    def kv_holds_all_sequences(self) -> bool:
        """The KV cache was sized for the longest request in every place of the running batch: full, it is that batch that is full."""
        budget = self.config.get("kv_cache")
        sized = budget is not None and not budget.get("blocks") and not budget.get("bytes")
        return self.mode == "own" and self.traits.sizes_kv_for_all_sequences and sized

    @property
    def may_cache_prefixes(self) -> bool:
        """Whether blocks in use may be cached ones: with prefix caching, or where a server of another's does not tell."""
        return self.prefix_caching or self.mode != "own"

    @property
    def counts_cached_blocks(self) -> bool:
        """Whether the gauge of used blocks may hold cached ones that the engine would give up."""
        return self.may_cache_prefixes and not (self.mode == "own" and self.traits.kv_gauge_omits_cached)


def deployment_facts(name: str, deployment: Mapping[str, Any], engine: Mapping[str, Any]) -> DeploymentFacts:
    """From the two JSON files of the deployment directory `name`; either may be empty."""
    config = dict(deployment.get("config") or {})
    kv_cache, scheduler = config.get("kv_cache") or {}, config.get("scheduler") or {}
    steps = engine.get("build_steps")
    provider = deployment.get("provider") or engine.get("provider")
    return DeploymentFacts(
        deployment=deployment.get("deployment") or name,
        dtype=deployment.get("dtype") or engine.get("dtype"),
        mode=deployment.get("mode") or "own",
        provider=provider,
        model=engine.get("model"),
        model_name=deployment.get("model_name"),
        model_version=deployment.get("model_version"),
        max_batch_size=deployment.get("max_batch_size") or config.get("max_batch_size"),
        max_sequences=scheduler.get("max_sequences"),
        dynamic_batching=config.get("dynamic_batching"),
        inference_threads=config.get("inference_threads"),
        prefix_caching=bool(kv_cache.get("prefix_caching")),
        kv_blocks=deployment.get("kv_blocks"),
        kv_dtype=deployment.get("kv_dtype"),
        kv_block_tokens=deployment.get("kv_block_tokens"),
        kv_bytes_per_token=deployment.get("kv_bytes_per_token"),
        plan_sha256=deployment.get("plan_sha256"),
        triton_version=deployment.get("triton_version"),
        server_flags=tuple(deployment.get("server_flags") or ()),
        load_s=deployment.get("load_seconds"),
        servers=deployment.get("servers") or 1,
        balancer=(config.get("replicas") or {}).get("balancer"),
        balancer_version=deployment.get("balancer_version"),
        instances=config.get("instances") or 1,
        engine_sha256=engine.get("sha256"),
        engine_size_bytes=engine.get("size_bytes"),
        engine_weights_dtype=engine.get("weights_dtype"),
        engine_build_s=sum(step["seconds"] for step in steps) if steps else None,
        padded_to_tokens=deployment.get("padded_to_tokens"),
        config=config,
        engine=dict(engine),
        log=dict(deployment.get("log") or {}),
        tokens=dict(deployment.get("tokens") or {}),
        traits=read_traits(deployment.get("traits"), provider),
        unanswered=dict(deployment.get("unanswered_calls") or {}),
    )
