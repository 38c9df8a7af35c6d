"""One trial of a search for the context limit: what its requests and the samples taken meanwhile say, and the class of its failure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trtbench.analysis.latency import ttft_ns
from trtbench.analysis.window import gpu_memory, inside, peak
from trtbench.records import Outcome, RequestRecord
from trtbench.rundir import Samples

FailureClass = Literal[
    "length_rule",
    "kv_exhausted",
    "shortened",
    "out_of_memory",
    "oom_killed",
    "oom_likely",
    "timeout",
    "server_died",
    "low_memory",
    "rejected",
    "cancelled",
    "other",
]
_CLASSES: dict[Outcome, FailureClass] = {
    Outcome.COMPLETED: "shortened",
    Outcome.TOO_LONG: "length_rule",
    Outcome.OUT_OF_MEMORY: "out_of_memory",
    Outcome.TIMEOUT: "timeout",
    Outcome.CONNECTION: "server_died",
    Outcome.REJECTED: "rejected",
    Outcome.CANCELLED: "cancelled",
}


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


def trial_result(
    data: dict[str, Any],
    requests: Sequence[RequestRecord],
    samples: Samples,
    most_before: int,
    death: dict[str, Any],
    next_start_ns: int | None = None,
) -> TrialResult:
    """`most_before`: prompt tokens at once of the largest trial that passed before it. `death`: of the server, if it was lost."""
    start, end = data["start_ns"], data["end_ns"]
    failed = [r for r in requests if r.outcome is not Outcome.COMPLETED or r.output_tokens != r.asked_output_tokens]
    ttfts = [ttft for r in requests if (ttft := ttft_ns(r)) is not None]
    return TrialResult(
        users=data["users"],
        input_tokens=data["input_tokens"],
        phase=data["phase"],
        passed=data["passed"],
        failure=None if data["passed"] else _failure(data, failed, death),
        error=str(death.get("cause", "")) if data["stop"] == "server_lost" else next((r.error for r in failed if r.error), ""),
        ttft_ns=max(ttfts) if ttfts and len(ttfts) == len(requests) else None,
        kv_used_blocks_peak=peak(samples.series("kv_blocks_used"), start, end),
        server_rss_bytes_peak=peak(samples.series("server_rss_bytes"), start, end),
        gpu_memory_bytes_peak=peak(gpu_memory(samples), start, end),
        healthy=data["healthy"],
        blocks_left=data["blocks_left"],
        takes_most=data["users"] * data["input_tokens"] > most_before,
        memory=MemoryShort(**data["memory"]) if data.get("memory") else None,
        gpu_memory_bytes_before=_gpu_memory(samples, 0, start),
        gpu_memory_bytes_after=_gpu_memory(samples, end, next_start_ns or _FOR_EVER_NS),
    )


def _failure(data: dict[str, Any], failed: Sequence[RequestRecord], death: dict[str, Any]) -> FailureClass:
    """The class of the first request that failed; why the search was stopped says more than what became of its requests.

    The kernel may kill the server, or one of its children under a server that lives on. That it may have been ours (`likely`) counts
    only where the server is dead: else the request's own error says more.
    """
    if data["stop"] == "low_memory":
        return "low_memory"
    if data.get("oom_kill") == "certain":
        return "oom_killed"
    if data["stop"] == "server_lost":
        return "out_of_memory" if death.get("out_of_memory") else "oom_likely" if data.get("oom_kill") == "likely" else "server_died"
    if not failed:
        return "other"
    first = failed[0]
    text = first.error.lower()
    if "kv cache" in text or "no free blocks" in text:
        return "kv_exhausted"
    return _CLASSES.get(first.outcome, "other")


def _gpu_memory(samples: Samples, after_ns: int, until_ns: int) -> float | None:
    """All GPUs added, at the last sample in that time."""
    values = inside(gpu_memory(samples), after_ns, until_ns)
    return float(values[-1]) if len(values) else None
