"""Trial: what one load against a calibration server gave, and what it cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from trtbench.records import Outcome, RequestRecord


@dataclass(frozen=True)
class Trial:
    """Of a measured phase. `cpu_s`: of all worker processes, recording included. `facts`: the transport's, of the first worker."""

    records: list[RequestRecord]
    duration_s: float
    cpu_s: float
    facts: dict[str, Any]

    @property
    def responses(self) -> int:
        return sum(len(record.token_ns) for record in self.records)

    @property
    def cpu_ratio(self) -> float:
        """Processor cores in use."""
        return self.cpu_s / self.duration_s

    @property
    def failures(self) -> list[RequestRecord]:
        return [record for record in self.records if record.outcome is not Outcome.COMPLETED]
