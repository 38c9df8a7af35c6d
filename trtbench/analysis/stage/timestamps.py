"""The accuracy of the arrival timestamps of one stage, and how late this process read the arrivals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np

from trtbench.analysis.stage.latency import gap_count, gathered
from trtbench.analysis.stats.percentile import PERMILLES, Distribution, nearest_rank
from trtbench.analysis.stats.sorting import sort_in_place
from trtbench.rundir.ragged import Ints
from trtbench.rundir.records import Outcome
from trtbench.rundir.requests import MISSING, Requests, Tokens


@dataclass(frozen=True, slots=True)
class Stamps:
    """Timestamps of every token response (of an encoder: every answer) of the stage's measured requests.

    `kernel_ratio` is the share with kernel timestamps, and `lag_ns` is how much later those were read. `coalesced_ratio` is the share that
    was read together with others and has the timestamp of the newest; `read_with_end_ratio` is the share that was read with only the
    end of its answer, which is not among them. The `_from_read` figures of completed requests are computed from the
    read instead of the timestamp, as a client without kernel timestamps would report them. `itl_exact_ns` are the gaps whose two ends are
    not coalesced. Each of the last four is empty if it equals the figure in `Latency`.
    """

    responses: int
    kernel_ratio: float | None
    coalesced_ratio: float | None
    read_with_end_ratio: float | None
    lag_ns: Distribution
    lag_p99_ns: float | None  # whatever their number, of under 100 the worst: a bound to judge by, not a figure to print
    ttft_from_read_ns: Distribution
    itl_from_read_ns: Distribution
    tpot_from_read_ns: Distribution
    itl_exact_ns: Distribution


def stamps(requests: Requests) -> Stamps:
    """The timestamps of one stage's measured requests."""
    answers = requests.select((requests.asked_output_tokens == 0) & requests.ended(Outcome.COMPLETED))
    responses = int(requests.responses.sum()) + len(answers)
    coalesced = int(requests.coalesced_count.sum())
    lags = _lags_ns(requests, answers)
    figures, lag_p99_ns, count = Distribution.of_sorted(lags), nearest_rank(lags, PERMILLES["p99"]) if len(lags) else None, len(lags)
    del lags  # one array of all responses at a time: of a day's run it is most of a GB
    done = requests.completed
    reads = _Reads(done.select((done.responses > 0) & (done.lag_count == done.responses)))
    exact = _exact_gaps_ns(done) if coalesced else np.empty(0, np.int64)
    sort_in_place(exact)
    return Stamps(
        responses=responses,
        kernel_ratio=count / responses if responses else None,
        coalesced_ratio=coalesced / responses if responses else None,
        read_with_end_ratio=int(requests.read_with_end.sum()) / responses if responses else None,
        lag_ns=figures,
        lag_p99_ns=lag_p99_ns,
        ttft_from_read_ns=reads.ttft_ns,
        itl_from_read_ns=reads.itl_ns,
        tpot_from_read_ns=reads.tpot_ns,
        itl_exact_ns=Distribution.of_sorted(exact),
    )


class _Reads:
    """Figures by the instant at which this process read each token response (timestamp + lag), of requests whose arrivals all have kernel
    timestamps.
    """

    def __init__(self, requests: Requests) -> None:
        first, last = np.empty(len(requests), np.int64), np.empty(len(requests), np.int64)
        gaps = gathered(self._gaps(requests, first, last), gap_count(requests), np.int64)
        sort_in_place(gaps)
        self.itl_ns = Distribution.of_sorted(gaps)
        del gaps
        self.ttft_ns = Distribution.of(first - requests.due_ns)
        seen = (requests.responses > 1) & (requests.output_tokens > 1)
        self.tpot_ns = Distribution.of((last - first)[seen] / (requests.output_tokens[seen] - 1))

    def _gaps(self, requests: Requests, first: Ints, last: Ints) -> Iterator[Ints]:
        for tokens in requests.tokens(lags=True):
            assert tokens.lags
            reads = tokens.arrivals.with_values(tokens.arrivals.values + tokens.lags.values)
            first[tokens.at], last[tokens.at] = reads.firsts(0), reads.lasts(0)
            yield reads.gaps().values


def _lags_ns(requests: Requests, answers: Requests) -> Ints:
    """The sorted read lags of all token responses and of all answers without tokens."""
    of_answers = answers.done_lag_ns[answers.done_lag_ns != MISSING]
    of_tokens = (tokens.lags.values for tokens in requests.select(requests.lag_count > 0).tokens(lags=True) if tokens.lags)
    lags: Ints = gathered(chain([of_answers], of_tokens), len(of_answers) + int(requests.lag_count.sum()), np.int64)
    sort_in_place(lags)
    return lags


def _exact_gaps_ns(requests: Requests) -> Ints:
    """Gaps between consecutive token responses, both of which were read alone."""
    exact: Ints = gathered(map(_exact, requests.tokens(coalesced=True)), gap_count(requests), np.int64)
    return exact


def _exact(tokens: Tokens) -> Ints:
    assert tokens.coalesced
    arrivals, inexact = tokens.arrivals, np.zeros(len(tokens.arrivals.values), np.bool_)
    rows, places = tokens.coalesced.rows(), tokens.coalesced.values
    there = (places >= 0) & (places < arrivals.lengths[rows])
    inexact[arrivals.offsets[rows[there]] + places[there]] = True
    kept = arrivals.inner() & ~inexact[:-1] & ~inexact[1:]
    return np.diff(arrivals.values)[kept]
