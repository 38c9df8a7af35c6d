"""Throughput and goodput over the measured window of a stage (metrics.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from trtbench.analysis.stage.latency import NS_PER_S
from trtbench.analysis.stage.outcomes import cancelled_as_planned
from trtbench.rundir.ragged import Ints, Mask
from trtbench.rundir.records import Outcome
from trtbench.rundir.requests import MISSING, Requests
from trtbench.scenario.load.measurement import Slo

_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """The window from the first due time to the last end of the measured phase."""

    start_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        return (self.end_ns - self.start_ns) / NS_PER_S

    def holds(self, instants_ns: Ints) -> Mask:
        """Whether each instant is inside the window; MISSING is before every window."""
        return (self.start_ns <= instants_ns) & (instants_ns <= self.end_ns)


@dataclass(frozen=True, slots=True)
class Throughput:
    """Rates per second over the window; None if the window is empty. Goodput is also None if the scenario sets no SLO.

    Tokens are 0 and their rate is None if the server does not report how many it sent.
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
    inference_throughput: float | None = None  # requests a second times the items of each
    tokens_estimated: bool = False  # some of the output tokens are our tokenizer's, of texts whose server counts none


def main_rate(rates: Throughput) -> float | None:
    """The rate by which throughput is judged: output tokens per second, or requests per second for an encoder."""
    return rates.request_throughput if rates.output_token_throughput is None else rates.output_token_throughput


def measured_window(requests: Requests, duration_s: float | None) -> Window | None:
    """The window from the first due time to the last end; None if no request ended.

    In a stage that ends by time, requests that end after that time belong to the drain and are excluded, unless no request ended before.
    """
    done = requests.done_ns[requests.done_ns != MISSING]
    if not len(done):
        return None
    start_ns = int(requests.due_ns.min())
    if duration_s is not None:
        in_time = done[done <= start_ns + round(duration_s * NS_PER_S)]
        done = in_time if len(in_time) else done
    return Window(start_ns, int(done.max()))


def keeps(requests: Requests, slo: Slo) -> Mask:
    """[n] Whether a request completed and kept every limit that `slo` sets.

    A figure that does not exist meets its limit, except the TTFT of a request that asked for output: such a request never had a first
    token.
    """
    due, done, responses = requests.due_ns, requests.done_ns, requests.responses
    kept: Mask = requests.ended(Outcome.COMPLETED) & (done != MISSING)
    if slo.ttft_ms is not None:
        ttft = requests.first_token_ns - due
        kept &= np.where(responses > 0, ttft <= slo.ttft_ms * _NS_PER_MS, requests.asked_output_tokens == 0)
    if slo.itl_ms is not None:
        kept &= (responses < 2) | (requests.longest_gap_ns <= slo.itl_ms * _NS_PER_MS)
    if slo.tpot_ms is not None:
        seen = (responses > 1) & (requests.output_tokens > 1)
        spent, steps = requests.last_token_ns - requests.first_token_ns, np.where(seen, requests.output_tokens - 1, 1)
        kept &= ~seen | (spent / steps <= slo.tpot_ms * _NS_PER_MS)
    if slo.e2e_latency_ms is not None:
        kept &= done - due <= slo.e2e_latency_ms * _NS_PER_MS
    return kept


def tokens_inside(requests: Requests, window: Window) -> int:
    """Output tokens that arrived inside the window. Responses are read only for requests that extend over a border of the window."""
    whole = window.holds(requests.first_token_ns) & window.holds(requests.last_token_ns) & requests.in_order
    apart = (requests.last_token_ns < window.start_ns) | (requests.first_token_ns > window.end_ns)
    partly = requests.select(~whole & ~(apart & requests.in_order))
    inside = sum(int(tokens.counts.values[window.holds(tokens.arrivals.values)].sum()) for tokens in partly.tokens())
    return int(requests.output_tokens[whole].sum()) + inside


def throughput(requests: Requests, planned: int, slo: Slo, duration_s: float | None, items: int = 1) -> Throughput:
    """The rates of one stage's measured requests, each of which carries `items` inferences."""
    window = measured_window(requests, duration_s)
    if window is None or window.seconds <= 0:
        return Throughput(0.0, 0, 0, None, None, None, None, None)
    in_time = window.holds(requests.done_ns)
    done = requests.ended(Outcome.COMPLETED) & in_time
    completed = int(done.sum())
    tokens = tokens_inside(requests, window)
    counted = bool(requests.counts_tokens.all())
    judged = planned - int(cancelled_as_planned(requests).sum())
    good = keeps(requests, slo) if slo.model_dump(exclude_none=True) else None
    return Throughput(
        window_s=window.seconds,
        completed=completed,
        output_tokens=tokens if counted else 0,
        request_throughput=completed / window.seconds,
        output_token_throughput=tokens / window.seconds if counted and requests.asked_output_tokens.any() else None,
        offered_rate=_rate(requests.due_ns),
        goodput=None if good is None else int((good & in_time).sum()) / window.seconds,
        goodput_ratio=None if good is None or not judged else int(good.sum()) / judged,
        input_token_throughput=int(requests.input_tokens[done].sum()) / window.seconds,
        inference_throughput=items * completed / window.seconds,
        tokens_estimated=bool(requests.tokens_estimated.any()),
    )


def admitted_rate(requests: Requests) -> float | None:
    """Requests per second that could be sent, of which max_in_flight may allow fewer than the schedule has; None below two instants."""
    return _rate(requests.ready_ns)


def _rate(instants_ns: Ints) -> float | None:
    span_ns = int(np.ptp(instants_ns)) if len(instants_ns) else 0
    return (len(instants_ns) - 1) * NS_PER_S / span_ns if span_ns else None
