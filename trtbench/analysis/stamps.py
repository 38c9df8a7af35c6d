"""How exactly the arrivals of one stage are known, and how late this process came to read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import numpy as np

from trtbench.analysis.percentile import PERMILLES, Distribution, Values, nearest_rank
from trtbench.records import Outcome, RequestRecord


@dataclass(frozen=True, slots=True)
class Stamps:
    """Over every token response (of an encoder, every answer) of the stage's measured requests.

    `kernel_ratio` of them were stamped by the kernel, `lag_ns` is how much later those were read. `coalesced_ratio` of them were read
    together with others and bear the newest one's stamp. The `_from_read` figures, of completed requests, count from the read instead of
    the stamp: what a client without the kernel's stamps would have reported. `itl_exact_ns` are the gaps with no coalesced end.
    Each of the last four is empty where it would not differ from the figure in `Latency`.
    """

    responses: int
    kernel_ratio: float | None
    coalesced_ratio: float | None
    lag_ns: Distribution
    lag_p99_ns: float | None  # whatever their number, of under 100 the worst: a bound to judge by, not a figure to print
    ttft_from_read_ns: Distribution
    itl_from_read_ns: Distribution
    tpot_from_read_ns: Distribution
    itl_exact_ns: Distribution


def stamps(requests: Sequence[RequestRecord]) -> Stamps:
    """The stamps of one stage's measured requests."""
    answers = [request for request in requests if not request.asked_output_tokens and request.outcome is Outcome.COMPLETED]
    responses = sum(len(request.token_ns) for request in requests) + len(answers)
    coalesced = sum(len(request.coalesced) for request in requests)
    of_answers = (request.done_lag_ns for request in answers if request.done_lag_ns is not None)
    lags = _sorted(chain(chain.from_iterable(request.token_lag_ns for request in requests), of_answers))
    done = [request for request in requests if request.outcome is Outcome.COMPLETED]
    reads = [(request, instants) for request in done if (instants := read_ns(request))]
    return Stamps(
        responses=responses,
        kernel_ratio=len(lags) / responses if responses else None,
        coalesced_ratio=coalesced / responses if responses else None,
        lag_ns=Distribution.of(lags),
        lag_p99_ns=nearest_rank(lags, PERMILLES["p99"]) if len(lags) else None,
        ttft_from_read_ns=Distribution.of(instants[0] - request.due_ns for request, instants in reads),
        itl_from_read_ns=Distribution.of(later - earlier for _, instants in reads for earlier, later in pairwise(instants)),
        tpot_from_read_ns=Distribution.of(
            (instants[-1] - instants[0]) / (request.output_tokens - 1)
            for request, instants in reads
            if len(instants) > 1 and request.output_tokens > 1
        ),
        itl_exact_ns=Distribution.of(chain.from_iterable(map(exact_gaps_ns, done)) if coalesced else ()),
    )


def read_ns(request: RequestRecord) -> list[int]:
    """When this process read each token response; empty where the kernel did not stamp them all, for then the stamps say it."""
    if len(request.token_lag_ns) != len(request.token_ns):
        return []
    return [arrival + lag for arrival, lag in zip(request.token_ns, request.token_lag_ns, strict=True)]


def exact_gaps_ns(request: RequestRecord) -> list[int]:
    """Gaps between consecutive token responses of which neither was read together with others."""
    inexact = set(request.coalesced)
    pairs = enumerate(pairwise(request.token_ns))
    return [later - earlier for at, (earlier, later) in pairs if at not in inexact and at + 1 not in inexact]


def _sorted(values: chain[int]) -> Values:
    return np.sort(np.fromiter(values, np.int64))
