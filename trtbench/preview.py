"""What a run would do, before it does it: stages, request counts, expected duration, KV feasibility."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trtbench.scenario import Scenario, Stage, Workload
from trtbench.serving.model_repository import KvBudget

ASSUMED_TOKENS_PER_S = 50.0
"""Output tokens per second that an estimate assumes where nothing else is known: the demo on one CPU core."""


@dataclass(frozen=True)
class StagePreview:
    """`requests` is None where only time bounds them; `estimated` tells a duration that rests on ASSUMED_TOKENS_PER_S."""

    label: str
    mode: str
    level: float
    warmup_requests: int
    requests: int | None
    duration_s: float
    estimated: bool


@dataclass(frozen=True)
class KvPreview:
    """`concurrent_requests`: longest requests of the workload that fit the KV cache at once."""

    deployment: str
    blocks: int
    bytes: int
    blocks_per_request: int
    concurrent_requests: int
    max_sequences: int


@dataclass(frozen=True)
class Preview:
    """Stages are run on each of `runs` (deployment-engine pairs)."""

    stages: tuple[StagePreview, ...]
    kv: tuple[KvPreview, ...]
    runs: tuple[str, ...]

    @property
    def requests(self) -> int:
        """Known requests of one run, those of stages that only time bounds left out."""
        return sum(stage.requests or 0 for stage in self.stages)

    @property
    def duration_s(self) -> float:
        return len(self.runs) * sum(stage.duration_s for stage in self.stages)


def preview(scenario: Scenario, budgets: Mapping[str, KvBudget]) -> Preview:
    """`budgets`: the KV cache of each deployment, from the preflight; empty for a server that is not ours."""
    kv = tuple(
        KvPreview(
            name,
            budget.blocks,
            budget.bytes,
            budget.blocks_per_request,
            budget.blocks // budget.blocks_per_request,
            scenario.deployments[name].scheduler.max_sequences,
        )
        for name, budget in budgets.items()
    )
    runs = tuple(f"{name}-{dtype}" for name in scenario.deployments for dtype in scenario.engines)
    return Preview(tuple(_stage(stage, scenario.workload) for stage in scenario.load), kv, runs)


def _stage(stage: Stage, workload: Workload) -> StagePreview:
    output = workload.output_tokens
    by_count_s = float("inf")
    estimated = False
    if stage.requests is not None:
        if stage.rate is not None:
            by_count_s = stage.requests / stage.rate
        else:
            by_count_s, estimated = stage.requests * (output.min + output.max) / 2 / ASSUMED_TOKENS_PER_S, True
    requests = stage.requests
    if stage.duration_s is not None and stage.duration_s < by_count_s:
        by_count_s, estimated = stage.duration_s, False
        requests = round(stage.duration_s * stage.rate) if stage.rate is not None else stage.requests
    return StagePreview(stage.label, stage.mode, stage.level, stage.warmup_requests, requests, by_count_s, estimated)
