"""One trial of a search for the context limit: what its requests and the samples taken meanwhile say, and the class of its failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from trtbench.analysis.stats.window import gpu_memory, inside, peak
from trtbench.experiments.context_limit.failure import Basis, Failure, FailureClass, failure_of
from trtbench.rundir import Samples
from trtbench.rundir.event_kinds import ServerLost
from trtbench.rundir.experiment_events import ContextTrial
from trtbench.rundir.records import Outcome, RequestRecord

_FOR_EVER_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class MemoryShort:
    """The bound on host memory under which the search stopped: of the machine, or of the control group (a container's)."""

    kind: Literal["machine", "cgroup"]
    limit_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True)
class TrialResult:
    """`ttft_ns` is the slowest of its users'; peaks are the largest samples while it ran, None where none fell into it.

    GPU memory, all GPUs added, before is the last sample at its start, after the last before the next trial began (of the last trial, of
    all): what an attempt did not give back.

    `basis`: what the class of the failure rests on; `error` is the log's line where it is the log.

    `takes_most`: no trial that passed before it had as many prompt tokens at once, so that its memory is its own.
    """

    users: int
    input_tokens: int
    phase: str
    passed: bool
    failure: FailureClass | None
    error: str
    ttft_ns: int | None
    kv_used_blocks_peak: float | None
    server_rss_bytes_peak: float | None
    gpu_memory_bytes_peak: float | None
    healthy: bool | None
    blocks_left: int | None
    takes_most: bool = False
    gpu_memory_bytes_before: float | None = None
    gpu_memory_bytes_after: float | None = None
    memory: MemoryShort | None = None
    basis: Basis | None = None
    waiting_peak: float | None = None


def trial_result(
    trial: ContextTrial,
    requests: Sequence[RequestRecord],
    samples: Samples,
    most_before: int,
    death: ServerLost,
    may_cache_blocks: bool,
    next_start_ns: int | None = None,
) -> TrialResult:
    """`most_before`: prompt tokens at once of the largest trial that passed before it. `death`: of the server, if it was lost.

    `may_cache_blocks`: whether KV blocks in use may be cached ones that the engine would give up.
    """
    start, end = trial.start_ns, trial.end_ns
    failed = [r for r in requests if r.outcome is not Outcome.COMPLETED or r.output_tokens != r.asked_output_tokens]
    failure = None if trial.passed else failure_of(trial, failed, death, samples, may_cache_blocks)
    ttfts = [r.token_ns[0] - r.due_ns for r in requests if r.token_ns]
    return TrialResult(
        users=trial.users,
        input_tokens=trial.input_tokens,
        phase=trial.phase,
        passed=trial.passed,
        failure=failure.kind if failure else None,
        error=_said(trial, failed, death, failure),
        ttft_ns=max(ttfts) if ttfts and len(ttfts) == len(requests) else None,
        kv_used_blocks_peak=peak(samples.series("kv_blocks_used"), start, end),
        server_rss_bytes_peak=peak(samples.series("server_rss_bytes"), start, end),
        gpu_memory_bytes_peak=peak(gpu_memory(samples), start, end),
        healthy=trial.healthy,
        blocks_left=trial.blocks_left,
        takes_most=trial.users * trial.input_tokens > most_before,
        basis=failure.basis if failure else None,
        waiting_peak=peak(samples.series("inflight_waiting_requests"), start, end),
        memory=MemoryShort(**asdict(trial.memory)) if trial.memory else None,
        gpu_memory_bytes_before=_gpu_memory(samples, 0, start),
        gpu_memory_bytes_after=_gpu_memory(samples, end, next_start_ns or _FOR_EVER_NS),
    )


def _said(trial: ContextTrial, failed: Sequence[RequestRecord], death: ServerLost, failure: Failure | None) -> str:
    if failure and failure.basis == "log" and trial.log_line:
        return trial.log_line
    return death.cause if trial.stop == "server_lost" else next((r.error for r in failed if r.error), "")


def _gpu_memory(samples: Samples, after_ns: int, until_ns: int) -> float | None:
    """All GPUs added, at the last sample in that time."""
    values = inside(gpu_memory(samples), after_ns, until_ns)
    return float(values[-1]) if len(values) else None
