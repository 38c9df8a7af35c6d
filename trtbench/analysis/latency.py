"""Latencies of completed requests, from their raw instants (metrics.md)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from trtbench.analysis.percentile import Distribution, quantile_curve
from trtbench.analysis.sending import send_lags_ns
from trtbench.records import Outcome, RequestRecord

NS_PER_S = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Latency:
    """Every figure over the completed requests of one stage; `send_lag_ns` over all that were sent once.

    The `server_` three are the server's own: queue = first scheduled - arrival, prefill = first token - first scheduled,
    decode = last token - first token. `outside_engine_ns`: what a first answer took beyond the engine's own time for it, which is the
    network, the client, and the models around the engine; two durations of a clock each, so the clocks need not agree.
    """

    ttft_ns: Distribution
    ttft_from_sent_ns: Distribution
    itl_ns: Distribution
    itl_per_token_ns: Distribution
    tpot_ns: Distribution
    e2e_latency_ns: Distribution
    e2e_latency_from_sent_ns: Distribution
    send_lag_ns: Distribution
    token_rate_per_user: Distribution
    server_queue_ns: Distribution
    server_prefill_ns: Distribution
    server_decode_ns: Distribution
    ttft_curve_ns: tuple[float, ...]
    itl_curve_ns: tuple[float, ...]
    e2e_curve_ns: tuple[float, ...] = ()  # where no request has a first token
    outside_engine_ns: Distribution = field(default_factory=lambda: Distribution.of(()))

    @property
    def first_answer_ns(self) -> Distribution:
        """TTFT; end to end latency where no request has a first token."""
        return self.ttft_ns if self.ttft_ns.count or not self.e2e_curve_ns else self.e2e_latency_ns


def ttft_ns(request: RequestRecord) -> int | None:
    """First response with at least one token - due."""
    return request.token_ns[0] - request.due_ns if request.token_ns else None


def first_answer_ns(request: RequestRecord) -> int | None:
    """TTFT; of a request whose answer is one response without tokens, its end to end latency."""
    if request.token_ns or request.asked_output_tokens or request.done_ns is None:
        return ttft_ns(request)
    return request.done_ns - request.due_ns


def gaps_ns(request: RequestRecord) -> list[int]:
    """Between consecutive token responses: one fewer than there were responses."""
    return [later - earlier for earlier, later in pairwise(request.token_ns)]


def tpot_ns(request: RequestRecord) -> float | None:
    """(last token - first token) / (output tokens - 1); None when all tokens came at once, for then nothing was seen to pass."""
    if len(request.token_ns) < 2 or request.output_tokens < 2:
        return None
    return (request.token_ns[-1] - request.token_ns[0]) / (request.output_tokens - 1)


def _engine_ns(request: RequestRecord) -> int:
    """The engine's own time for what came first: a token, or of a request that does not stream all of them."""
    assert request.server
    ready_ns = request.server.first_token_ns if len(request.token_ns) > 1 else request.server.last_token_ns
    return ready_ns - request.server.arrival_ns


def latency(requests: Sequence[RequestRecord]) -> Latency:
    """The figures of one stage's measured requests."""
    done = [request for request in requests if request.outcome is Outcome.COMPLETED]
    first = [request for request in done if request.token_ns]
    ttft = [request.token_ns[0] - request.due_ns for request in first]
    itl = [gap for request in done for gap in gaps_ns(request)]
    tpot = [value for request in done if (value := tpot_ns(request)) is not None]
    served = [request.server for request in done if request.server]
    return Latency(
        ttft_ns=Distribution.of(ttft),
        ttft_from_sent_ns=Distribution.of(r.token_ns[0] - r.sent_ns for r in first if r.sent_ns is not None),
        itl_ns=Distribution.of(itl),
        itl_per_token_ns=Distribution.of(
            gap / count for r in done for gap, count in zip(gaps_ns(r), r.token_counts[1:], strict=True) if count
        ),
        tpot_ns=Distribution.of(tpot),
        e2e_latency_ns=Distribution.of(r.done_ns - r.due_ns for r in done if r.done_ns is not None),
        e2e_latency_from_sent_ns=Distribution.of(r.done_ns - r.sent_ns for r in done if r.done_ns is not None and r.sent_ns is not None),
        send_lag_ns=Distribution.of(send_lags_ns(requests)),
        token_rate_per_user=Distribution.of(NS_PER_S / value for value in tpot if value > 0),
        server_queue_ns=Distribution.of(s.first_scheduled_ns - s.arrival_ns for s in served),
        server_prefill_ns=Distribution.of(s.first_token_ns - s.first_scheduled_ns for s in served),
        server_decode_ns=Distribution.of(s.last_token_ns - s.first_token_ns for s in served),
        ttft_curve_ns=quantile_curve(ttft),
        itl_curve_ns=quantile_curve(itl),
        outside_engine_ns=Distribution.of(r.token_ns[0] - r.sent_ns - _engine_ns(r) for r in first if r.server and r.sent_ns is not None),
        e2e_curve_ns=() if first else quantile_curve([r.done_ns - r.due_ns for r in done if r.done_ns is not None]),
    )
