"""Trial: what one load against a calibration server gave, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trtbench.rundir.records import Outcome, RequestRecord


@dataclass(frozen=True)
class Trial:
    """Of a measured phase. `cores`: the CPU that all worker processes used, recording included. `facts`: the first one's transport."""

    records: list[RequestRecord]
    duration_s: float
    cores: float
    facts: dict[str, Any]

    @property
    def responses(self) -> int:
        return sum(len(record.token_ns) for record in self.records)

    @property
    def cpu_s(self) -> float:
        return self.cores * self.duration_s

    @property
    def completed(self) -> list[RequestRecord]:
        return [record for record in self.records if record.outcome is Outcome.COMPLETED]

    @property
    def failures(self) -> list[RequestRecord]:
        return [record for record in self.records if record.outcome is not Outcome.COMPLETED]
