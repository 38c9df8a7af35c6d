"""What a calibration finds, from its trials: pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from trtbench.analysis.stats.percentile import Distribution
from trtbench.self_test.accuracy import Accuracy, StampErrors
from trtbench.self_test.stamp import Integers
from trtbench.self_test.trial import Trial

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
        """One response in ten left the server a whole gap late or later: its rate was not the one asked for, whatever the client did."""
        late_ns = self.accuracy.server_late_ns.p90 if self.accuracy else None
        return late_ns is not None and late_ns > self.gap_us * 1000


@dataclass(frozen=True)
class Ceiling:
    """As many responses as server, sockets and client give; the client was the limit where its `cores` is about 1."""

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
    """All of it; `skipped`: why there is nothing of a Triton, else ""."""

    streams: tuple[StreamFigures, ...]
    ceiling: Ceiling
    send_lag: tuple[SendLag, ...]
    skipped: str


def _span_ns(instants_ns: Integers) -> int:
    return int(instants_ns.max() - instants_ns.min()) if len(instants_ns) else 0
