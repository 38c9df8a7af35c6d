"""The figures of a calibration, from its trials: pure arithmetic.

Accuracy is the difference between measured instants and the true ones, which a calibration server sends in the output ids of its responses.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from trtbench.analysis.stats.percentile import Distribution
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.self_test.stamp import Integers, StampError, Stamps
from trtbench.self_test.trial import Trial


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
        """Whether both sides use the same clock: no response was sent before its request, or read before it was sent."""
        return bool((self.sent_ns >= self.asked_ns).all() and (self.user_ns >= self.sent_ns).all())


@dataclass(frozen=True)
class StampErrors:
    """Measured minus true values in ns; for ITL the absolute difference. `ttft_ns` is None if the two sides have no clock in common."""

    ttft_ns: Distribution | None
    itl_ns: Distribution


@dataclass(frozen=True)
class Accuracy:
    """Errors over all requests of one trial. `user` has those of user-space timestamps; None if the records have no kernel timestamps."""

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


_US_PER_S = 1_000_000


@dataclass(frozen=True)
class StreamFigures:
    """`streams` at once, each with a response every `gap_us`. `accuracy` is of the requests that completed, None without one."""

    server: str
    streams: int
    gap_us: int
    responses_per_s: float
    cpu_us_per_response: float
    facts: dict[str, Any]  # the transport's
    accuracy: Accuracy | None
    failed: int
    fault: str  # the first one's

    @classmethod
    def of(cls, server: str, streams: int, gap_us: int, trial: Trial) -> StreamFigures:
        """StampError when records do not hold what the server sent."""
        failures = trial.failures
        return cls(
            server,
            streams,
            gap_us,
            responses_per_s=trial.responses / trial.duration_s,
            cpu_us_per_response=trial.cpu_s / max(trial.responses, 1) * _US_PER_S,
            facts=trial.facts,
            accuracy=Accuracy.of(trial.completed) if trial.completed else None,
            failed=len(failures),
            fault=f"{failures[0].outcome.value}: {failures[0].error}" if failures else "",
        )

    def by_stamps(self) -> tuple[StampErrors | None, StampErrors | None]:
        """(by kernel stamps, by user-space stamps)."""
        if self.accuracy is None:
            return None, None
        return (self.accuracy.stamps, self.accuracy.user) if self.facts.get("stamps") == "kernel" else (None, self.accuracy.stamps)

    @property
    def server_fell_behind(self) -> bool:
        """Whether one response in ten was sent a whole gap late or later, so that the server did not reach the requested rate."""
        late_ns = self.accuracy.server_late_ns.p90 if self.accuracy else None
        return late_ns is not None and late_ns > self.gap_us * 1000


@dataclass(frozen=True)
class Ceiling:
    """The most responses that server, sockets and client can process. The client is the limit if its `cores` is about 1."""

    streams: int
    responses_per_s: float
    responses_per_cpu_s: float
    cores: float
    failed: int

    @classmethod
    def of(cls, streams: int, trial: Trial) -> Ceiling:
        rate, per_cpu_s = trial.responses / trial.duration_s, trial.responses / trial.cpu_s
        return cls(streams, rate, per_cpu_s, trial.cores, len(trial.failures))


@dataclass(frozen=True)
class SendLag:
    """An open loop of `rate` requests/s. `achieved_ratio`: the rate at which requests were sent / at which they were due.

    `server_late_ns`: how late the server was by its own schedule meanwhile. It is punctual and all but idle: its lateness is the machine's.
    """

    rate: float
    requests: int
    failed: int
    achieved_ratio: float
    send_lag_ns: Distribution
    server_late_ns: Distribution
    cores: float

    @classmethod
    def of(cls, rate: float, trial: Trial) -> SendLag:
        sent = [record for record in trial.records if record.sent_ns is not None]
        due_ns, sent_ns = (np.array([getattr(record, name) for record in sent], np.int64) for name in ("due_ns", "sent_ns"))
        achieved = _span_ns(due_ns) / max(_span_ns(sent_ns), 1)
        server_late_ns = Accuracy.of(trial.completed).server_late_ns
        return cls(rate, len(trial.records), len(trial.failures), achieved, Distribution.of(sent_ns - due_ns), server_late_ns, trial.cores)


@dataclass(frozen=True)
class Calibration:
    """The results of a calibration. `skipped` is why there are none of a Triton, and empty if there are."""

    streams: tuple[StreamFigures, ...]
    ceiling: Ceiling
    send_lag: tuple[SendLag, ...]
    skipped: str


def _span_ns(instants_ns: Integers) -> int:
    return int(instants_ns.max() - instants_ns.min()) if len(instants_ns) else 0
