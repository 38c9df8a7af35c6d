"""Latencies of completed requests, computed from the instants in their records (metrics.md)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from trtbench.analysis.stage.outcomes import cancelled_as_planned
from trtbench.analysis.stage.sending import send_lags_ns
from trtbench.analysis.stats.percentile import Distribution, curve_of_sorted, quantile_curve
from trtbench.analysis.stats.sorting import sort_in_place
from trtbench.rundir.event_kinds import IF_KNOWN
from trtbench.rundir.ragged import Ints, Mask
from trtbench.rundir.records import Outcome
from trtbench.rundir.requests import MISSING, Requests, Tokens

Floats = npt.NDArray[np.float64]
_PART = 1 << 20


def gaps_ns(requests: Requests) -> Ints:
    """Gaps between consecutive token responses of each request: one fewer than the request has responses."""
    parts = (tokens.arrivals.gaps().values for tokens in requests.tokens())
    gaps: Ints = gathered(parts, gap_count(requests), np.int64)
    return gaps


def gaps_per_token_ns(requests: Requests) -> Floats:
    """Each gap divided by the number of tokens that arrived at its end, for the gaps that ended with tokens."""
    parts = (_per_token(tokens) for tokens in requests.tokens())
    per_token: Floats = gathered(parts, gap_count(requests), np.float64)
    return per_token


def gaps_ended(requests: Requests, start_ns: int, end_ns: int) -> tuple[Ints, Ints]:
    """(Ends, lengths) of the gaps that ended at start < time <= end."""
    touching = requests.select((requests.first_token_ns < end_ns) & (requests.last_token_ns > start_ns) | ~requests.in_order)
    found = [_ended(tokens, start_ns, end_ns) for tokens in touching.tokens()]
    ends, gaps = (np.concatenate([part[i] for part in found]) if found else np.empty(0, np.int64) for i in (0, 1))
    return ends, gaps


def gap_count(requests: Requests) -> int:
    return int(np.maximum(requests.responses - 1, 0).sum())


def gathered(parts: Iterable[Any], most: int, dtype: Any) -> Any:
    """All parts in one array, which has at most this many values."""
    values, filled = np.empty(most, dtype), 0
    for part in parts:
        values[filled : filled + len(part)] = part
        filled += len(part)
    return values[:filled]


def as_floats(values: Ints) -> Floats:
    """The same numbers as floats in the same memory, whose integers are overwritten."""
    floats = values.view(np.float64)
    for start in range(0, len(values), _PART):
        floats[start : start + _PART] = values[start : start + _PART].astype(np.float64)
    return floats


def later(tokens: Tokens) -> Mask:
    """A mask of the arrivals that end a gap: all except the first of each request."""
    kept = np.ones(len(tokens.arrivals.values), np.bool_)
    kept[tokens.arrivals.offsets[:-1]] = False
    return kept


def _per_token(tokens: Tokens) -> Floats:
    counts = tokens.counts.values[later(tokens)]
    per_token: Floats = tokens.arrivals.gaps().values[counts > 0] / counts[counts > 0]
    return per_token


def _ended(tokens: Tokens, start_ns: int, end_ns: int) -> tuple[Ints, Ints]:
    ends, gaps = tokens.arrivals.values[later(tokens)], tokens.arrivals.gaps().values
    inside = (ends > start_ns) & (ends <= end_ns)
    return ends[inside], gaps[inside]


NS_PER_S = 1_000_000_000
Percentile = Literal["p50", "p99"]


@dataclass(frozen=True, slots=True)
class Latency:
    """Every latency of the completed requests of one stage. `send_lag_ns` includes all requests that were sent once.

    The three `server_` figures use the server's own timestamps: queue = first scheduled - arrival, prefill = first token - first scheduled,
    decode = last token - first token. `outside_engine_ns` is the part of the first answer's time that was not spent in the engine: the
    network, the client, and the models around the engine. It is the difference of two durations, each by one clock, so the clocks need not
    agree.
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
    ttfo_ns: Distribution | None = field(default=None, metadata=IF_KNOWN)  # None if no request had tokens of reasoning
    e2e_with_failures_ns: Distribution | None = field(default=None, metadata=IF_KNOWN)  # None if every request that was sent completed

    @property
    def e2e_latency_all_ns(self) -> Distribution:
        """End-to-end latency over all requests that were sent, in which a failed one took infinitely long."""
        return self.e2e_latency_ns if self.e2e_with_failures_ns is None else self.e2e_with_failures_ns

    @property
    def has_failures(self) -> bool:
        return self.e2e_with_failures_ns is not None

    @property
    def first_answer_ns(self) -> Distribution:
        """TTFT, or end-to-end latency if no request has a first token."""
        return self.ttft_ns if self.ttft_ns.count or not self.e2e_curve_ns else self.e2e_latency_ns


def percentile_of(latencies: Sequence[Latency], name: str) -> Percentile:
    """P99 of each if every one of them has a P99; otherwise a lower percentile that all have, so that equal percentiles are compared."""
    return "p99" if latencies and all(getattr(latency, name).p99 is not None for latency in latencies) else "p50"


def ttft_ns(requests: Requests) -> Ints:
    """Arrival of the first response with at least one token - due time, for the requests that have such a response."""
    first = requests.select(requests.responses > 0)
    return first.first_token_ns - first.due_ns


def first_answers_ns(requests: Requests) -> Ints:
    """[n] TTFT, or end-to-end latency for a request whose answer is one response without tokens; MISSING if there is neither."""
    due, done = requests.due_ns, requests.done_ns
    whole = (requests.asked_output_tokens == 0) & (done != MISSING)
    return np.where(requests.responses > 0, requests.first_token_ns - due, np.where(whole, done - due, MISSING))


def tpot_ns(requests: Requests) -> Floats:
    """(Last token - first token) / (output tokens - 1), for the requests whose tokens did not all arrive in one response."""
    seen = requests.select((requests.responses > 1) & (requests.output_tokens > 1))
    tpot: Floats = (seen.last_token_ns - seen.first_token_ns) / (seen.output_tokens - 1)
    return tpot


def e2e_latency_ns(requests: Requests) -> Ints:
    """End - due time, for the requests that ended."""
    return between(requests, "due_ns", "done_ns")


def between(requests: Requests, start: str, end: str) -> Ints:
    """The time between two instants, for the requests that have both."""
    starts, ends = requests.column(start), requests.column(end)
    known = (starts != MISSING) & (ends != MISSING)
    lengths: Ints = ends[known] - starts[known]
    return lengths


def latency(requests: Requests) -> Latency:
    """The latencies of one stage's measured requests."""
    done = requests.completed
    ttft, tpot = ttft_ns(done), tpot_ns(done)
    e2e, failed = e2e_latency_ns(done), _failed_count(requests)
    gaps = gaps_ns(done)
    sort_in_place(gaps)
    itl, itl_curve = Distribution.of_sorted(gaps), curve_of_sorted(gaps)
    # In place where it can be: of a day's run the gaps alone are most of a GB.
    if done.each_has_one.all():
        per_token = as_floats(gaps)
    else:
        per_token = gaps_per_token_ns(done)
        per_token.sort()
    del gaps
    return Latency(
        ttft_ns=Distribution.of(ttft),
        ttft_from_sent_ns=Distribution.of(between(done, "sent_ns", "first_token_ns")),
        itl_ns=itl,
        itl_per_token_ns=Distribution.of_sorted(per_token),
        tpot_ns=Distribution.of(tpot),
        e2e_latency_ns=Distribution.of(e2e),
        e2e_latency_from_sent_ns=Distribution.of(between(done, "sent_ns", "done_ns")),
        send_lag_ns=Distribution.of(send_lags_ns(requests)),
        token_rate_per_user=Distribution.of(NS_PER_S / tpot[tpot > 0]),
        server_queue_ns=Distribution.of(between(done, "server.arrival_ns", "server.first_scheduled_ns")),
        server_prefill_ns=Distribution.of(between(done, "server.first_scheduled_ns", "server.first_token_ns")),
        server_decode_ns=Distribution.of(between(done, "server.first_token_ns", "server.last_token_ns")),
        ttft_curve_ns=quantile_curve(ttft),
        itl_curve_ns=itl_curve,
        outside_engine_ns=Distribution.of(_outside_engine_ns(done)),
        e2e_curve_ns=() if len(ttft) else quantile_curve(e2e),
        ttfo_ns=Distribution.of(between(done, "due_ns", "first_output_ns")) if (done.reasoning_responses > 0).any() else None,
        e2e_with_failures_ns=Distribution.of(e2e, failed) if failed else None,
    )


def _failed_count(requests: Requests) -> int:
    """The requests that were sent and did not complete, without those that the plan cancelled."""
    lost = (requests.sent_ns != MISSING) & ~requests.ended(Outcome.COMPLETED) & ~cancelled_as_planned(requests)
    return int(lost.sum())


def _outside_engine_ns(done: Requests) -> Ints:
    """First token - sent, minus the engine's own time until then. For a request that does not stream, the engine's time includes all
    tokens.
    """
    served = done.select((done.responses > 0) & done.has_server & (done.sent_ns != MISSING))
    ready = np.where(served.responses > 1, served.column("server.first_token_ns"), served.column("server.last_token_ns"))
    arrival = served.column("server.arrival_ns")
    known = (ready != MISSING) & (arrival != MISSING)
    outside: Ints = (served.first_token_ns - served.sent_ns - (ready - arrival))[known]
    return outside


@dataclass(frozen=True, slots=True)
class Group:
    """Some requests of one stage. `requests` counts all of them; the latencies are of the completed ones."""

    requests: int
    completed: int
    input_tokens: Distribution
    output_tokens: Distribution
    ttft_ns: Distribution
    tpot_ns: Distribution
    e2e_latency_ns: Distribution


def by_mix(requests: Requests) -> dict[str, Group]:
    """Latency by component of a mixed workload; empty for fewer than two components."""
    mix = requests.texts("mix")
    return _groups(requests, {name: mix.equal(name) for name in mix.values})


def by_turn(requests: Requests) -> dict[str, Group]:
    """Latency of the `first` and the `later` turns of sessions; the prompt of a later turn contains the conversation before it. Empty
    without later turns.
    """
    of_sessions = requests.select(requests.session != MISSING)
    return _groups(of_sessions, {"first": of_sessions.turn == 0, "later": of_sessions.turn != 0})


def _groups(requests: Requests, masks: Mapping[str, Mask]) -> dict[str, Group]:
    """The groups that have requests, in the order of their names; empty for fewer than two groups."""
    filled = {name: mask for name, mask in sorted(masks.items()) if mask.any()}
    return {name: group_of(requests.select(mask)) for name, mask in filled.items()} if len(filled) > 1 else {}


def group_of(requests: Requests) -> Group:
    """The figures of these requests."""
    done = requests.completed
    return Group(
        requests=len(requests),
        completed=len(done),
        input_tokens=Distribution.of(done.input_tokens),
        output_tokens=Distribution.of(done.output_tokens[done.counts_tokens]),
        ttft_ns=Distribution.of(ttft_ns(done)),
        tpot_ns=Distribution.of(tpot_ns(done)),
        e2e_latency_ns=Distribution.of(e2e_latency_ns(done)),
    )
