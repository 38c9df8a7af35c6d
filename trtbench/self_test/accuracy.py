"""How far measured instants lie from the true ones: pure arithmetic on records whose output ids are a calibration server's stamps."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from trtbench.analysis.stats.percentile import Distribution
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.self_test.stamp import Integers, StampError, Stamps


@dataclass(frozen=True)
class Pair:
    """One request's responses as both sides saw them, each of shape [responses]: arrival by the record's stamps, arrival in user
    space, sending, the server's lateness against its own schedule."""

    asked_ns: int  # when the request was sent
    arrival_ns: Integers
    user_ns: Integers
    sent_ns: Integers
    late_ns: Integers
    coalesced: int

    @classmethod
    def of(cls, record: RequestRecord) -> Pair:
        """StampError when the record does not hold what the server sent; ValueError for one that did not complete."""
        if record.outcome is not Outcome.COMPLETED or record.sent_ns is None:
            raise ValueError(f"request {record.index} {record.outcome.value}: {record.error}")
        stamps = Stamps.of(record.output_ids)
        arrival_ns = np.array(record.token_ns, np.int64)
        if len(arrival_ns) != len(stamps.sent_ns):
            raise StampError(f"{len(arrival_ns)} arrivals of {len(stamps.sent_ns)} responses")
        lag_ns = np.array(record.token_lag_ns or [0] * len(arrival_ns), np.int64)
        return cls(record.sent_ns, arrival_ns, arrival_ns + lag_ns, stamps.sent_ns, stamps.late_ns, len(record.coalesced))

    @property
    def one_clock(self) -> bool:
        """Both sides read the same clock: nothing left the server before it was asked for, or came before it left."""
        return bool((self.sent_ns >= self.asked_ns).all() and (self.user_ns >= self.sent_ns).all())


@dataclass(frozen=True)
class StampErrors:
    """Measured minus true, ns. Of ITL the absolute error. `ttft_ns` is None where the two sides have no clock in common."""

    ttft_ns: Distribution | None
    itl_ns: Distribution


@dataclass(frozen=True)
class Accuracy:
    """Of all requests of one trial. `user`: the same responses by user-space stamps; None where the record's stamps are those already."""

    requests: int
    responses: int
    stamps: StampErrors
    user: StampErrors | None
    coalesced_ratio: float
    server_late_ns: Distribution

    @classmethod
    def of(cls, records: Iterable[RequestRecord]) -> Accuracy:
        """StampError and ValueError as `Pair.of`."""
        pairs = [Pair.of(record) for record in records]
        responses = sum(len(pair.sent_ns) for pair in pairs)
        one_clock = all(pair.one_clock for pair in pairs)
        by_kernel = any((pair.user_ns != pair.arrival_ns).any() for pair in pairs)
        return cls(
            requests=len(pairs),
            responses=responses,
            stamps=_errors(pairs, [pair.arrival_ns for pair in pairs], one_clock),
            user=_errors(pairs, [pair.user_ns for pair in pairs], one_clock) if by_kernel else None,
            coalesced_ratio=sum(pair.coalesced for pair in pairs) / max(responses, 1),
            server_late_ns=Distribution.of(_joined([pair.late_ns for pair in pairs])),
        )


def _errors(pairs: Sequence[Pair], arrivals_ns: Sequence[Integers], one_clock: bool) -> StampErrors:
    """TTFT: arrival of the first response - its sending. ITL: gap of arrivals - gap of sendings."""
    delays = [arrival_ns - pair.sent_ns for pair, arrival_ns in zip(pairs, arrivals_ns, strict=True)]
    gaps = np.abs(_joined([np.diff(delay) for delay in delays]))
    return StampErrors(Distribution.of([delay[0] for delay in delays]) if one_clock else None, Distribution.of(gaps))


def _joined(parts: Sequence[Integers]) -> Integers:
    return np.concatenate(parts) if parts else np.empty(0, np.int64)
