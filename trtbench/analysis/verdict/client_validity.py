"""Reasons to doubt a result because of the load generator, each with the limit above which it applies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.stage.latency import NS_PER_S
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stage.workers import busiest
from trtbench.analysis.verdict.verdict import Grade, Reason

SEND_LAG_SUSPECT_NS, SEND_LAG_SUSPECT_RATIO = 5_000_000, 0.05
SEND_LAG_INVALID_NS, SEND_LAG_INVALID_RATIO = 50_000_000, 0.5
"""Limits of the p99 of send lag: an absolute lag, or a share of the median TTFT that the lag would distort, whichever is larger."""
RATE_NOTE_RATIO, RATE_SUSPECT_RATIO = 0.005, 0.02
"""The allowed deviation of the sending rate from the planned rate. An idle machine with spare capacity stays within 0.5 %; a reader would
attribute 2 % to the server.
"""
COALESCED_SUSPECT_RATIO, COALESCED_INVALID_RATIO = 0.01, 0.5
"""Allowed shares of inexact timestamps: more of them than lie beyond a P99, and enough that the median is inexact too."""
LAG_SUSPECT_RATIO, LAG_INVALID_RATIO = 0.05, 0.5
"""The allowed lag as a share of the mean token gap. Inexact timestamps are off by about the lag of the reads, and a smaller lag changes no
figure visibly.
"""
LAG_ABOVE_GAP_RATIO = 1.0
"""The share of the gap above which a read comes after the next token, so that a kernel timestamp no longer belongs to one token."""
CLIENT_CORES_SUSPECT = 0.85
"""The CPU in cores above which a worker sends and reads late: it is one thread."""
LOOP_LAG_SUSPECT_NS = 10_000_000
"""The loop lag that may be exceeded in half of all sampling intervals. An event loop that is sometimes late is not doubted; one that
usually is sends late.
"""
GC_PAUSE_NOTE_NS, GC_PAUSE_SUSPECT_NS = 5_000_000, 50_000_000
"""The longest allowed garbage collection, which is frozen in a stage. The limits are those of send lag, because a pause delays what is due
during it by as much.
"""
FALLBACK_NOTE_RATIO = 0.01
"""The allowed share of reads without a kernel timestamp, which use the instant of the read. More of them would affect a P99."""
CROWDED_NOTE_RATIO = 1e-3
"""The ratio of paced reads that had more than one message, whose stamps are not one token's. Fewer show in no p99."""
PACED_END_NOTE_NS = 1_000_000
"""A closed loop sends its next request so much later at the 99th percentile; part of the send lag."""
CLOCK_DRIFT_NOTE_RATIO = 1e-4
"""The allowed drift of the wall clock against the run's clock. Above it, kernel timestamps are off by up to 0.1 ms until the clocks are
compared again, a second later.
"""


class MakeReason(Protocol):
    """A function that makes a Reason about one stage."""

    def __call__(self, code: str, grade: Grade, **figures: float | str) -> Reason: ...


def client_reasons(reason: MakeReason, stage: StageResult) -> Iterator[Reason]:
    """The reasons to doubt one stage because of the load generator."""
    for rule in (_send_lag, _rate, _stamps, _cpu, _loop_lag, _gc_pause):
        found = rule(reason, stage)
        if found:
            yield found


def transport_reasons(result: DeploymentResult) -> Iterator[Reason]:
    """Reasons about the arrival timestamps and streams of a deployment, as its workers reported them: one per kind, about the worst
    worker.
    """

    def reason(code: str, grade: Grade, **figures: float | str) -> Reason:
        return Reason(code, grade, result.name, figures=figures)

    workers = result.transports
    user = [transport for transport in workers if transport.stamps != "kernel"]
    if user:
        yield reason("user_stamps", "note", why=user[0].why or user[0].name, count=len(user), workers=len(workers))
    steps = sum(transport.clock_steps for transport in workers)
    if steps:
        yield reason("clock_step", "suspect", steps=steps)
    drift_ratio = max((transport.clock_drift_ratio for transport in workers), default=0.0)
    if not steps and drift_ratio > CLOCK_DRIFT_NOTE_RATIO:
        yield reason("clock_drift", "note", drift_ns=drift_ratio * NS_PER_S)
    fallbacks, stamped = (sum(getattr(t, name) for t in workers) for name in ("stamp_fallbacks", "stamped_reads"))
    if fallbacks and fallbacks / (fallbacks + stamped) > FALLBACK_NOTE_RATIO:
        yield reason("stamp_fallbacks", "note", share_ratio=fallbacks / (fallbacks + stamped))
    crowded, paced = (sum(getattr(t, name) for t in workers) for name in ("paced_reads_crowded", "paced_reads"))
    if paced and crowded / paced > CROWDED_NOTE_RATIO:
        pause_ns = max(transport.read_pause_longest_ns for transport in workers)
        yield reason("paced_reads_crowded", "note", share_ratio=crowded / paced, pause_ns=pause_ns)
    end_lag_ns = max((transport.paced_end_lag_p99_ns for transport in workers), default=0)
    if end_lag_ns > PACED_END_NOTE_NS:
        yield reason("paced_ends", "note", end_lag_p99_ns=end_lag_ns)
    if resent := sum(transport.resent for transport in workers):
        yield reason("requests_resent", "note", count=resent)


def _send_lag(reason: MakeReason, stage: StageResult) -> Reason | None:
    lag_ns, first_ns = stage.sending.lag_p99_ns, stage.latency.first_answer_ns
    usual_ns = first_ns.p50 or first_ns.mean or 0.0
    grade = _graded(
        lag_ns or 0,
        suspect=max(SEND_LAG_SUSPECT_NS, SEND_LAG_SUSPECT_RATIO * usual_ns),
        invalid=max(SEND_LAG_INVALID_NS, SEND_LAG_INVALID_RATIO * usual_ns),
    )
    if lag_ns is None or grade is None:
        return None
    return reason("send_lag", grade, send_lag_p99_ns=lag_ns, ttft_typical_ns=usual_ns, count=stage.sending.count)


def _rate(reason: MakeReason, stage: StageResult) -> Reason | None:
    ratio = stage.sending.rate_ratio
    if ratio is None or abs(ratio - 1) <= RATE_NOTE_RATIO:
        return None
    grade: Grade = "suspect" if abs(ratio - 1) > RATE_SUSPECT_RATIO else "note"
    return reason("rate_off", grade, off_ratio=abs(ratio - 1), send_lag_p99_ns=stage.sending.lag_p99_ns or 0)


def _stamps(reason: MakeReason, stage: StageResult) -> Reason | None:
    """Timestamps that belong to several tokens, if the lag is large compared with the mean gap between tokens."""
    stamps, gap_ns = stage.stamps, stage.latency.itl_ns.mean or stage.latency.first_answer_ns.mean
    lag_ns = stamps.lag_p99_ns
    if gap_ns is None or lag_ns is None:
        return None
    share, off = stamps.coalesced_ratio or 0.0, lag_ns / gap_ns
    figures = {"lag_p99_ns": lag_ns, "gap_mean_ns": gap_ns, "coalesced_ratio": share}
    if share > COALESCED_INVALID_RATIO and off > LAG_INVALID_RATIO:
        return reason("coalesced", "invalid", **figures)
    if share > COALESCED_SUSPECT_RATIO and off > LAG_SUSPECT_RATIO:
        return reason("coalesced", "suspect", **figures)
    return reason("stamp_lag", "suspect", **figures) if off > LAG_ABOVE_GAP_RATIO else None


def _cpu(reason: MakeReason, stage: StageResult) -> Reason | None:
    workers = stage.resources.client_workers
    found = busiest(workers)
    if found is None or found[1] <= CLIENT_CORES_SUSPECT:
        return None
    return reason("client_cpu", "suspect", client_cpu_cores=found[1], worker=found[0] or "0", workers=len(workers))


def _loop_lag(reason: MakeReason, stage: StageResult) -> Reason | None:
    lags = {label: worker.loop_lag_p50_ns or 0 for label, worker in stage.resources.client_workers.items()}
    worker, lag_ns = max(lags.items(), key=lambda pair: pair[1])
    return reason("loop_lag", "suspect", loop_lag_p50_ns=lag_ns, worker=worker or "0") if lag_ns > LOOP_LAG_SUSPECT_NS else None


def _gc_pause(reason: MakeReason, stage: StageResult) -> Reason | None:
    pauses = {label: worker.gc_pause_ns.max for label, worker in stage.resources.client_workers.items() if worker.gc_pause_ns}
    worker, pause_ns = max(pauses.items(), key=lambda pair: pair[1], default=("", 0.0))
    if pause_ns <= GC_PAUSE_NOTE_NS:
        return None
    return reason("gc_pause", "suspect" if pause_ns > GC_PAUSE_SUSPECT_NS else "note", gc_pause_ns=pause_ns, worker=worker or "0")


def _graded(value: float, suspect: float, invalid: float) -> Grade | None:
    return "invalid" if value > invalid else "suspect" if value > suspect else None
