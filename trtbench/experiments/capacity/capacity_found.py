"""The capacity that a search found: its probes with their evidence and figures, and what they say together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from trtbench.analysis.found import Key
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.experiments.capacity.bracketing import Outcome, Phase, Range, Tried, Verdict, outcome
from trtbench.experiments.capacity.sequential_test import ERROR_RATIO, kept_interval
from trtbench.experiments.capacity.spec import LoadBy
from trtbench.rundir.events import every, first
from trtbench.rundir.experiment_events import CapacityProbe, CapacitySearchFinished, CapacitySearchStarted, ProbedClause
from trtbench.rundir.records import Event

CAPACITY: Key[CapacityFound | None] = Key("capacity")


@dataclass(frozen=True, slots=True)
class ClauseResult:
    """A clause in one probe: the share of `requests` that kept its limit, with its 95 % interval. `verdict`: None if not certain."""

    clause: str
    requests: int
    kept_ratio: float | None
    kept_low_ratio: float
    kept_high_ratio: float
    dispersion: float
    verdict: str | None


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """One probe. `jointly_kept_ratio`: the share of requests that kept all limits at once. `broken_by`: the clauses that broke, the worst
    first; backlog for a queue that only grew. Rates and `output_token_throughput` are those of its stage.
    """

    stage: str
    level: float
    phase: Phase
    verdict: Verdict
    clauses: tuple[ClauseResult, ...]
    jointly_kept_ratio: float | None
    broken_by: tuple[str, ...]
    doubts: tuple[str, ...]
    request_throughput: float | None
    output_token_throughput: float | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class CapacityFound:
    """The result of one deployment. `ended`: done, or why the search was cut short. `error_ratio`: the probability that one probe's
    verdict is wrong outside the indifference zone of its test.
    """

    by: LoadBy
    slo: tuple[str, ...]
    ended: str
    outcome: Outcome
    error_ratio: float
    probes: tuple[ProbeResult, ...]

    def probe_at(self, level: float | None, verdict: Verdict) -> ProbeResult | None:
        """The last probe at a load with this verdict."""
        return next((probe for probe in reversed(self.probes) if probe.level == level and probe.verdict == verdict), None)

    @property
    def holding(self) -> ProbeResult | None:
        """The probe that shows the capacity: the repeat, if it agreed."""
        return self.probe_at(self.outcome.bracket.holds, "holds")

    @property
    def breaking(self) -> ProbeResult | None:
        """The probe at the lowest load that breaks the SLO."""
        return self.probe_at(self.outcome.bracket.breaks, "breaks")


def capacity_found(events: Sequence[Event], stages: Sequence[StageResult]) -> CapacityFound | None:
    """The result of a deployment's search, or None if it had none. `events` are those of the deployment."""
    asked = first(events, CapacitySearchStarted)
    if asked is None:
        return None
    probed = every(events, CapacityProbe)
    search = Range(asked.start, asked.least, asked.most, asked.resolution, asked.by == "concurrency", asked.probes)
    by_name = {stage.span.name: stage for stage in stages}
    finished = first(events, CapacitySearchFinished)
    return CapacityFound(
        by=asked.by,
        slo=tuple(asked.slo),
        ended=finished.ended if finished else "broken_off",
        outcome=outcome(search, [Tried(probe.level, probe.verdict, probe.phase) for probe in probed]),
        error_ratio=ERROR_RATIO,
        probes=tuple(_probe(probe, by_name.get(probe.stage)) for probe in probed),
    )


def _probe(probe: CapacityProbe, stage: StageResult | None) -> ProbeResult:
    requests = probe.clauses[0].requests if probe.clauses else 0
    rates = stage.throughput if stage else None
    return ProbeResult(
        stage=probe.stage,
        level=probe.level,
        phase=probe.phase,
        verdict=probe.verdict,
        clauses=tuple(map(_clause, probe.clauses)),
        jointly_kept_ratio=1 - probe.jointly_broken / requests if requests else None,
        broken_by=tuple(probe.broken_by),
        doubts=tuple(probe.doubts),
        request_throughput=rates.request_throughput if rates else None,
        output_token_throughput=rates.output_token_throughput if rates else None,
        seconds=(stage.span.end_ns - stage.span.start_ns) / 1e9 if stage else None,
    )


def _clause(one: ProbedClause) -> ClauseResult:
    low, high = kept_interval(one.requests, one.broken, one.dispersion)
    kept = 1 - one.broken / one.requests if one.requests else None
    return ClauseResult(one.clause, one.requests, kept, low, high, one.dispersion, one.verdict)
