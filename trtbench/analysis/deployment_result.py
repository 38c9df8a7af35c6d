"""One engine on one deployment, with all its stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from trtbench.analysis.facts import DeploymentFacts
from trtbench.analysis.found import Found
from trtbench.analysis.stage.outcomes import Conservation
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stage.throughput import main_rate
from trtbench.analysis.stage.token_counting import TokenCounting
from trtbench.analysis.stats.knee import Knee, LoadPoint
from trtbench.analysis.stats.usl import UserLaw
from trtbench.analysis.timeline import Curve, Timeline
from trtbench.analysis.transport import Transport
from trtbench.analysis.verdict.gpu_health import GpuHealth
from trtbench.rundir.event_kinds import IF_KNOWN, ServerLost


@dataclass(frozen=True, slots=True)
class NotRun:
    """A stage whose measured phase never began; `why` is interrupted, error_bound, server_lost, or "" if unknown."""

    name: str
    why: str
    conservation: Conservation


@dataclass(frozen=True, slots=True)
class DeploymentResult:
    """The result of one deployment. `server_fault`: a fault of a server that kept running.

    `kv_blocks_left`: KV blocks in use after the load minus those in use before it.
    """

    name: str
    facts: DeploymentFacts
    state: Literal["finished", "broken_off", "never_ready"]
    ready_s: float | None
    stages: tuple[StageResult, ...]
    not_run: tuple[NotRun, ...]
    server_lost: ServerLost | None
    kv_blocks_left: int | None
    rss_peak_bytes: float | None
    gpu_memory_peak_bytes: float | None  # all GPUs added
    knee: Knee | None
    kv_used_blocks: Curve
    running: Curve
    waiting: Curve
    timeline: Timeline
    transports: tuple[Transport, ...]
    found: Found  # by the experiments
    gpu_health: Mapping[str, GpuHealth] = field(default_factory=dict)
    not_told: tuple[str, ...] = ()  # series that a GPU does not have
    server_fault: str | None = None
    echoed: int = 0  # requests whose prompt came before the output
    stale_pages: int = 0  # pages of metrics whose gauges were those of an engine at rest
    missing_metrics: tuple[str, ...] = ()  # families of the engine's metrics that no page had
    reads_metrics: bool = True  # whether a page was asked for
    page_fault: str = ""  # why most readings of a page that was asked for failed
    tokens_beyond_ours: int | None = None  # output tokens by the server's count less those that arrived
    counting: TokenCounting = field(default_factory=TokenCounting)  # of what the server did not count
    user_law: UserLaw | None = field(default=None, metadata=IF_KNOWN)  # of four closed-loop levels or more

    def stage(self, name: str) -> StageResult | None:
        return next((stage for stage in self.stages if stage.span.name == name), None)


def curve_stages(stages: Sequence[StageResult]) -> list[StageResult]:
    """The stages that are points of the curve of throughput over users."""
    return [stage for stage in stages if stage.is_closed_loop and stage.held_level and stage.supports_rates]


def throughput_curve(stages: Sequence[StageResult]) -> list[LoadPoint]:
    """`main_rate` by users of the closed-loop stages that kept one level and whose rates are supported."""
    ran = curve_stages(stages)
    return [LoadPoint(s.level, rate, _blocks(s)) for s in ran if (rate := main_rate(s.throughput))]


def _blocks(stage: StageResult) -> tuple[float, ...]:
    """The blocks of `main_rate`."""
    found = stage.uncertainty
    return found.request_blocks if stage.throughput.output_token_throughput is None else found.token_blocks
