"""One trial of a search for the context limit: the evidence of its requests and samples, and the class of its failure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

from trtbench.analysis.stats.window import gpu_memory, inside, peak
from trtbench.rundir.event_kinds import ServerLost
from trtbench.rundir.experiment_events import ContextTrial
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.rundir.samples import Samples
from trtbench.system.memory import Memory, is_kv_cache_full, short_memory

FailureClass = Literal[
    "length_rule",
    "kv_exhausted",
    "shortened",
    "device_out_of_memory",
    "host_out_of_memory",
    "out_of_memory",
    "oom_killed",
    "oom_likely",
    "timeout",
    "server_died",
    "connection_broken",
    "low_memory",
    "rejected",
    "cancelled",
    "other",
]
"""Classes of failures. out_of_memory: of a GPU or of the host, which is unknown. server_died: an external server that no longer answers."""

Basis = Literal["error", "log", "gauges", "kernel", "process", "client"]
"""What a class is derived from. error: the server's message to the client. client: the client's own observation or act: its time limit,
a short answer, a cancellation.
"""

_OUT_OF_MEMORY: dict[Memory | None, FailureClass] = {
    "device": "device_out_of_memory",
    "host": "host_out_of_memory",
    None: "out_of_memory",
}
_OF_OUTCOME: dict[Outcome, tuple[FailureClass, Basis]] = {
    Outcome.COMPLETED: ("shortened", "client"),
    Outcome.EMPTY: ("shortened", "client"),
    Outcome.TOO_LONG: ("length_rule", "error"),
    Outcome.TIMEOUT: ("timeout", "client"),
    Outcome.REJECTED: ("rejected", "error"),
    Outcome.CANCELLED: ("cancelled", "client"),
}
_LEAST_READINGS = 2


@dataclass(frozen=True, slots=True)
class Failure:
    kind: FailureClass
    basis: Basis


def failure_of(
    trial: ContextTrial, failed: Sequence[RequestRecord], death: ServerLost, samples: Samples, may_cache_blocks: bool
) -> Failure:
    """The class of a failure. `trial`: the data of its event. `failed`: its failed requests, of which the first decides, after whatever
    stopped the search.

    The kernel may kill the server, or only a child of a server that keeps running. That the killed process may have been part of this
    run (`likely`) counts only if the server is dead; otherwise the request's own error is more specific.
    """
    if trial.stop == "low_memory":
        return Failure("low_memory", "client")
    if trial.oom_kill == "certain":
        return Failure("oom_killed", "kernel")
    if trial.stop == "server_lost":
        return _of_death(trial, death)
    if not failed:
        return Failure("other", "client")
    return _of_error(failed[0].error) or _of_log(trial) or _of_outcome(trial, failed, samples, may_cache_blocks)


def _of_death(trial: ContextTrial, death: ServerLost) -> Failure:
    """The class of a server's death. A line logged during the trial is preferred to the whole log, which may contain an earlier fault."""
    if found := _of_log(trial):
        return found
    if death.out_of_memory:
        return Failure(_OUT_OF_MEMORY[death.memory], "log")
    return Failure("oom_likely", "kernel") if trial.oom_kill == "likely" else Failure("server_died", "process")


def _of_error(error: str) -> Failure | None:
    """The class of a request's error. Memory comes first: an error that names both ran out of memory while it made room in the cache."""
    if memory := short_memory(error):
        return Failure(_OUT_OF_MEMORY[memory], "error")
    return Failure("kv_exhausted", "error") if is_kv_cache_full(error) else None


def _of_log(trial: ContextTrial) -> Failure | None:
    logged = trial.log_says
    if not logged:
        return None
    return Failure("kv_exhausted" if logged == "kv_cache" else _OUT_OF_MEMORY[logged], "log")


def _of_outcome(trial: ContextTrial, failed: Sequence[RequestRecord], samples: Samples, may_cache_blocks: bool) -> Failure:
    first = failed[0]
    if first.outcome is Outcome.OUT_OF_MEMORY:
        return Failure("out_of_memory", "error")
    if first.outcome is Outcome.CONNECTION:
        return Failure("connection_broken", "error") if trial.healthy else Failure("server_died", "client")
    if first.outcome is Outcome.TIMEOUT and not may_cache_blocks and _waited_for_blocks(trial, failed, samples):
        return Failure("kv_exhausted", "gauges")
    return Failure(*_OF_OUTCOME.get(first.outcome, ("other", "error" if first.error else "client")))


def _waited_for_blocks(trial: ContextTrial, failed: Sequence[RequestRecord], samples: Samples) -> bool:
    """Whether all requests that timed out were held back by the KV cache rather than by a slow server.

    That is so if every reading in the second half of the trial shows at least as many waiting requests, and fewer free blocks than one
    of them needs. A slow request that was running would leave fewer waiting.
    """
    blocks, block_tokens = (samples.series(name)[1] for name in ("kv_blocks_max", "kv_block_tokens"))
    if not len(blocks) or not len(block_tokens) or block_tokens[-1] <= 0:
        return False
    half_ns = (trial.start_ns + trial.end_ns) // 2
    used = inside(samples.series("kv_blocks_used"), half_ns, trial.end_ns)
    waiting = inside(samples.series("inflight_waiting_requests"), half_ns, trial.end_ns)
    if len(used) < _LEAST_READINGS or len(used) != len(waiting):
        return False
    need = math.ceil((failed[0].input_tokens + failed[0].asked_output_tokens) / block_tokens[-1])
    return bool((blocks[-1] - used < need).all() and (waiting >= len(failed)).all())


_FOR_EVER_NS = 2**63 - 1


@dataclass(frozen=True, slots=True)
class MemoryShort:
    """The limit of host memory at which the search stopped: that of the machine, or that of the control group (a container's)."""

    kind: Literal["machine", "cgroup"]
    limit_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True)
class TrialResult:
    """The figures of one trial. `ttft_ns` is that of its slowest user; peaks are the largest samples during the trial, None without
    samples.

    The GPU memory before the trial is the sum over all GPUs at the last sample before its start; the memory after it is at the last
    sample before the next trial began (of the last trial: at the last sample). The difference is the memory that the trial did not
    release.

    `basis`: what the class of the failure is derived from; `error` is the line of the log if the class is derived from the log.

    `takes_most`: no earlier trial that passed had as many prompt tokens at once, so its memory is due to this trial.
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
    """The figures of a trial. `most_before`: prompt tokens at once of the largest earlier trial that passed. `death`: the death of the
    server, if it was lost.

    `may_cache_blocks`: whether used KV blocks may be cached ones that the engine would free when needed.
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
    """The sum over all GPUs at the last sample in that time."""
    values = inside(gpu_memory(samples), after_ns, until_ns)
    return float(values[-1]) if len(values) else None
