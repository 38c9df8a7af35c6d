"""The effect of cancellations on the other requests: the surviving requests of a stage compared with the same requests in a stage
without cancellations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from trtbench.analysis.facts import DeploymentFacts
from trtbench.analysis.found import Key
from trtbench.analysis.stage.latency import e2e_latency_ns, tpot_ns, ttft_ns
from trtbench.analysis.stage.outcomes import cancelled_as_planned
from trtbench.analysis.stage.stage_result import StageResult, is_disturbed
from trtbench.analysis.stage.throughput import keeps, measured_window, tokens_inside
from trtbench.analysis.stats.percentile import Distribution
from trtbench.rundir.ragged import Ints
from trtbench.rundir.requests import Requests
from trtbench.scenario.load.measurement import Slo
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.scenario import Scenario

CANCEL_CONTROLS: Key[tuple[CancelControl, ...]] = Key("cancel_controls")
Records = Mapping[str, Requests]


@dataclass(frozen=True, slots=True)
class Survivors:
    """Some requests of one stage. Rates are over its whole measured window; `goodput` is None without an SLO.

    `tokens_per_s` is None if tokens are not counted, or if none are requested.
    """

    tokens_per_s: float | None
    goodput: float | None
    ttft_ns: Distribution
    tpot_ns: Distribution
    e2e_latency_ns: Distribution


@dataclass(frozen=True, slots=True)
class CancelControl:
    """The figures of the `compared` requests, which completed in both stages, `beside` cancellations and `without` them.

    `disturbed`: background load in one of the stages makes the difference doubtful.
    """

    stage: str
    control: str
    cancelled_ratio: float
    compared: int
    disturbed: bool
    beside: Survivors
    without: Survivors


def cancel_controls(
    stages: Sequence[StageResult], records: Records, scenario: Scenario, facts: DeploymentFacts, cpu_count: int
) -> tuple[CancelControl, ...]:
    """A comparison for each stage with cancellations that has a control: the first stage with the same requests and no planned
    cancellation.

    A further stage without cancellations is compared too, and shows the difference of two equal stages. All of them ran to their end. A
    closed loop that ends by time has none, because its number of requests is a result. There is also none if prefixes may be cached,
    because a repeated stage finds its own prompts in the cache.
    """
    ran = {stage.span.name for stage in stages if stage.span.ended == "done"}
    whole = [stage for stage in scenario.load if stage.label in ran and not (stage.mode == "concurrency" and stage.duration_s)]
    if facts.may_cache_prefixes:
        return ()
    baseline = {s.drawn_as: s for s in reversed(whole) if not (s.label in records and records[s.label].planned_cancel.any())}
    disturbed = {stage.span.name for stage in stages if is_disturbed(stage, cpu_count)}
    found = (_control(stage, baseline.get(stage.drawn_as), records, scenario.slo, disturbed) for stage in whole)
    return tuple(one for one in found if one)


def _control(stage: Stage, baseline: Stage | None, records: Records, slo: Slo, disturbed: set[str]) -> CancelControl | None:
    if baseline is None or baseline is stage or stage.label not in records or baseline.label not in records:
        return None
    of_stage, of_control = records[stage.label], records[baseline.label]
    cancelled = int(cancelled_as_planned(of_stage).sum())
    both = np.intersect1d(of_stage.completed.index, of_control.completed.index)
    again = not of_stage.planned_cancel.any()
    if not len(both) or not (cancelled or again):
        return None
    beside, without = (_survivors(r, both, slo, stage.duration_s) for r in (of_stage, of_control))
    doubtful = bool({stage.label, baseline.label} & disturbed)
    return CancelControl(stage.label, baseline.label, cancelled / len(of_stage), len(both), doubtful, beside, without)


def _survivors(requests: Requests, indices: Ints, slo: Slo, duration_s: float | None) -> Survivors:
    chosen = requests.select(np.isin(requests.index, indices))
    window = measured_window(requests, duration_s)
    assert window  # some of them are done
    tokens = tokens_inside(chosen, window)
    counted = bool(chosen.counts_tokens.all() and chosen.asked_output_tokens.any())
    good = int((keeps(chosen, slo) & window.holds(chosen.done_ns)).sum()) if slo.model_dump(exclude_none=True) else None
    return Survivors(
        tokens_per_s=tokens / window.seconds if window.seconds > 0 and counted else None,
        goodput=good / window.seconds if good is not None and window.seconds > 0 else None,
        ttft_ns=Distribution.of(ttft_ns(chosen)),
        tpot_ns=Distribution.of(tpot_ns(chosen)),
        e2e_latency_ns=Distribution.of(e2e_latency_ns(chosen)),
    )
