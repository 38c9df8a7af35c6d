"""Throughput and goodput over the measured window of a stage (metrics.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trtbench.analysis.latency import NS_PER_S, gaps_ns, tpot_ns, ttft_ns
from trtbench.analysis.outcomes import is_cancelled_as_planned
from trtbench.records import Outcome, RequestRecord
from trtbench.scenario import Slo

_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """First due to last done of the measured phase."""

    start_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / NS_PER_S

    def holds(self, instant_ns: int | None) -> bool:
        return instant_ns is not None and self.start_ns <= instant_ns <= self.end_ns


@dataclass(frozen=True, slots=True)
class Throughput:
    """Rates a second over the window; None when the window is empty, goodput also when the scenario sets no SLO.

    Tokens are 0 and their rate None where the server does not tell how many it sent.
    """

    window_s: float
    completed: int  # done inside the window
    output_tokens: int  # arrived inside the window
    request_throughput: float | None
    output_token_throughput: float | None  # None also of requests that asked for none
    offered_rate: float | None  # requests a second that fell due; what an open loop really asked
    goodput: float | None
    goodput_ratio: float | None  # of all planned but those cancelled as planned, whenever done
    input_token_throughput: float | None = None  # prompts of what was completed inside the window
    tokens_estimated: bool = False  # some of the output tokens are our tokenizer's, of texts whose server counts none


def main_rate(rates: Throughput) -> float | None:
    """What throughput is judged by: output tokens a second, requests a second of an encoder."""
    return rates.request_throughput if rates.output_token_throughput is None else rates.output_token_throughput


def measured_window(requests: Sequence[RequestRecord], duration_s: float | None) -> Window | None:
    """First due to last done; None when nothing was done.

    Of a stage that ends by time, what is done after its time is drain and left out, unless nothing at all was done before.
    """
    done = [request.done_ns for request in requests if request.done_ns is not None]
    if not done:
        return None
    start_ns = min(request.due_ns for request in requests)
    if duration_s is not None:
        close_ns = start_ns + round(duration_s * NS_PER_S)
        done = [instant for instant in done if instant <= close_ns] or done
    return Window(start_ns, max(done))


def keeps(request: RequestRecord, slo: Slo) -> bool:
    """Whether a request completed and kept every limit of `slo` that is set.

    Without a first token it keeps no limit on one. A gap or a TPOT that does not exist, as with a single response, breaks no limit.
    """
    if request.outcome is not Outcome.COMPLETED or request.done_ns is None or (slo.ttft_ms is not None and not request.token_ns):
        return False
    limits = (
        (slo.ttft_ms, ttft_ns(request)),
        (slo.itl_ms, max(gaps_ns(request), default=None)),
        (slo.tpot_ms, tpot_ns(request)),
        (slo.e2e_latency_ms, request.done_ns - request.due_ns),
    )
    return all(limit is None or value is None or value <= limit * _NS_PER_MS for limit, value in limits)


def throughput(requests: Sequence[RequestRecord], planned: int, slo: Slo, duration_s: float | None) -> Throughput:
    """The rates of one stage's measured requests."""
    window = measured_window(requests, duration_s)
    if window is None or window.seconds <= 0:
        return Throughput(0.0, 0, 0, None, None, None, None, None)
    done = [r for r in requests if r.outcome is Outcome.COMPLETED and window.holds(r.done_ns)]
    tokens = sum(n for r in requests for at, n in zip(r.token_ns, r.token_counts, strict=True) if window.holds(at))
    counted = all(request.counts_tokens for request in requests)
    judged = planned - sum(map(is_cancelled_as_planned, requests))
    good = [r for r in requests if keeps(r, slo)] if slo.model_dump(exclude_none=True) else None
    return Throughput(
        window_s=window.seconds,
        completed=len(done),
        output_tokens=tokens if counted else 0,
        request_throughput=len(done) / window.seconds,
        output_token_throughput=tokens / window.seconds if counted and any(r.asked_output_tokens for r in requests) else None,
        offered_rate=_offered_rate(requests),
        goodput=None if good is None else sum(window.holds(r.done_ns) for r in good) / window.seconds,
        goodput_ratio=None if good is None or not judged else len(good) / judged,
        input_token_throughput=sum(r.input_tokens for r in done) / window.seconds,
        tokens_estimated=any(request.tokens_estimated for request in requests),
    )


def _offered_rate(requests: Sequence[RequestRecord]) -> float | None:
    due = [request.due_ns for request in requests]
    span_ns = max(due) - min(due)
    return (len(due) - 1) * NS_PER_S / span_ns if span_ns else None
