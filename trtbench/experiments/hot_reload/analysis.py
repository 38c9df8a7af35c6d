"""The analysis of reloads under load: their findings, and reasons to doubt their figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.experiment_analysis import DeploymentRecords, ExperimentAnalysis
from trtbench.analysis.found import Found
from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.verdict import Reason
from trtbench.experiments.hot_reload.reload_result import ReloadResult
from trtbench.experiments.hot_reload.reloads import RELOADS, reloads
from trtbench.experiments.hot_reload.spec import HotReload
from trtbench.rundir.records import Outcome
from trtbench.rundir.series import unit_of
from trtbench.scenario.scenario import Scenario

_CRITICAL_RATIO = 0.05


def reload_findings(result: DeploymentResult, scenario: Scenario) -> Iterator[Finding]:
    """Findings on reloads that did not do what was requested, interrupted the service, lost requests, caused a latency spike, did not
    recover, or leak. There is at most one of each kind.
    """
    found, asked = result.found[RELOADS], scenario.hot_reload
    if not found or not asked:
        return
    finished = [one for one in found.reloads if one.end_ns is not None]
    yield from _as_meant(result, finished)
    yield from _lost(result, finished, found.lost)
    places = tuple((result.name, stage.span.name) for stage in result.stages)
    for finding in (*_spiked(result, finished, asked), *_no_recovery(result, finished)):
        yield replace(finding, rests_on=places)
    for series, rise in found.rises.items():
        if rise and rise.is_leak:
            unit = unit_of(series) or "count"
            figures: dict[str, float | str] = {
                "series": series,
                f"rise_{unit}": rise.per_reload,
                f"width_{unit}": rise.half_width,
                "readings": rise.readings,
            }
            yield Finding(f"reload_leak_{unit}", "warning", result.name, figures=figures)


def reload_reasons(result: DeploymentResult, scenario: Scenario) -> Iterator[Reason]:
    """Reasons about reloads that were requested and did not happen, have no baseline, or have no repeat to show their spread."""
    found, asked = result.found[RELOADS], scenario.hot_reload
    if not asked:
        return
    ended = [one for one in found.reloads if one.end_ns is not None] if found else []
    planned = len(asked.planned)
    if len(ended) < planned:
        yield Reason("reloads_missing", "suspect", result.name, figures={"count": planned - len(ended), "planned": planned})
    few = [one for one in ended if not _has_before(one)]
    if few:
        yield Reason("reload_few_before", "suspect", result.name, figures={"count": len(few), "planned": planned})
    if asked.repeats == 1:
        yield Reason("reloads_once", "note", result.name)


def _has_before(one: ReloadResult) -> bool:
    """Whether the baseline has enough requests for a comparison. The maximum of a few requests is small by chance."""
    return one.before is not None and one.before.ttft_ns.p50 is not None


def _as_meant(result: DeploymentResult, finished: Sequence[ReloadResult]) -> Iterator[Finding]:
    failed = [one for one in finished if not one.as_meant]
    for code, ones in (
        ("reload_failed", [one for one in failed if not one.loaded]),
        ("reload_broken_loaded", [one for one in failed if one.loaded and one.kind == "broken"]),
        ("reload_incomplete", [one for one in failed if one.loaded and one.kind != "broken"]),
        ("reload_took_down", [one for one in finished if not one.loaded and one.served_on == ()]),
    ):
        if ones:
            figures: dict[str, float | str] = {
                "number": ones[0].number,
                "kind": ones[0].kind,
                "count": len(ones),
                "said": ones[0].error or "-",
            }
            yield Finding(code, "warning" if ones[0].loaded else "critical", result.name, figures=figures)


def _lost(result: DeploymentResult, finished: Sequence[ReloadResult], total: int) -> Iterator[Finding]:
    """The finding on lost requests. A reload that loses some without an unload is worse, because an unload always leaves a gap."""
    losing = [one for one in finished if one.lost]
    if not losing:
        return
    worst = max(losing, key=lambda one: (one.kind != "unload_load", one.lost))
    share = worst.lost / worst.requests
    figures: dict[str, float | str] = {
        "total": total,
        "count": len(losing),
        "number": worst.number,
        "kind": worst.kind,
        "lost": worst.lost,
        "requests": worst.requests,
        "classes": ", ".join(worst.failed),
    }
    by_nature = worst.kind == "unload_load"
    code = "reload_gap" if by_nature else "reload_lost"
    yield Finding(code, "critical" if not by_nature and share > _CRITICAL_RATIO else "warning", result.name, figures=figures)


def _spiked(result: DeploymentResult, finished: Sequence[ReloadResult], asked: HotReload) -> Iterator[Finding]:
    spikes = [
        (ratio, metric, one)
        for one in filter(_has_before, finished)
        for metric, ratio in (("TTFT", one.ttft_spike_ratio), ("ITL", one.itl_spike_ratio))
        if ratio is not None and ratio > asked.max_spike
    ]
    if spikes:
        ratio, metric, one = max(spikes, key=lambda spike: spike[0])
        figures: dict[str, float | str] = {
            "metric": metric,
            "spike_factor": ratio,
            "bound_factor": asked.max_spike,
            "number": one.number,
            "kind": one.kind,
            "count": len({spiked.number for _, _, spiked in spikes}),
            "reloads": len(finished),
        }
        yield Finding("reload_spiked", "warning", result.name, figures=figures)


def _no_recovery(result: DeploymentResult, finished: Sequence[ReloadResult]) -> Iterator[Finding]:
    never = [one for one in finished if _has_before(one) and one.recovery_ns is None]
    if never:
        figures: dict[str, float | str] = {
            "count": len(never),
            "reloads": len(finished),
            "number": never[0].number,
            "kind": never[0].kind,
            "watched_s": (never[0].until_ns - never[0].start_ns) / 1e9,
        }
        yield Finding("reload_no_recovery", "warning", result.name, figures=figures)


def _explains(result: DeploymentResult, finding: Finding) -> bool:
    """Whether reloads explain a finding: a reload delays requests, and may leave the model without a version for a while."""
    found = result.found[RELOADS]
    if found is None:
        return False
    if finding.code == "rate_not_kept":
        return True
    outcome = finding.figures.get("class") or finding.code.removeprefix("errors_")
    return outcome == Outcome.UNAVAILABLE and int(finding.figures["count"]) <= found.unavailable


def _of_deployment(records: DeploymentRecords) -> Found:
    return Found().put(RELOADS, reloads(records.events, records.requests, records.samples))


ANALYSIS = ExperimentAnalysis(
    of_deployment=_of_deployment,
    deployment_reasons=reload_reasons,
    deployment_findings=reload_findings,
    explains=_explains,
    resets_counters=lambda scenario: scenario.hot_reload is not None,  # a model that is replaced takes its last counts with it
)
