"""Findings on a server that ended, never became ready, had a fault, or keeps what it no longer needs."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.findings.rule import Case
from trtbench.rundir.series import unit_of

_CREEP_RATIO, _RATIO_CREEP = 0.05, 0.005
_S_PER_HOUR = 3600


def lost_server(case: Case) -> Iterator[Finding]:
    """The server's process ended during the run, or never became ready."""
    result = case.result
    lost = result.server_lost
    cause = (lost.cause if lost else "") or "-"
    if result.state == "never_ready":
        yield Finding("never_ready", "critical", result.name, figures={"stages": len(result.not_run), "cause": cause})
    elif lost:
        figures = {"exit_code": str(lost.exit_code), "cause": cause}
        yield Finding("server_lost", "critical", result.name, figures=figures)


def faulty_server(case: Case) -> Iterator[Finding]:
    """The log of a server that still runs has a fault."""
    if case.result.server_fault:
        yield Finding("server_fault", "critical", case.result.name, figures={"cause": case.result.server_fault})


def kept_blocks(case: Case) -> Iterator[Finding]:
    """Two sampling intervals after the last request, KV blocks are in use that were not in use before the first."""
    if case.result.kv_blocks_left:
        yield Finding("kv_blocks_leaked", "warning", case.result.name, figures={"blocks": case.result.kv_blocks_left})


def creep(case: Case) -> Iterator[Finding]:
    """In a stage of ten minutes or more memory, descriptors, threads, KV blocks or the time to the first answer grew by over 5 %, or the
    share of failed requests by over 0.5 %; the 95 % interval of the slope is above zero, and the growth continues in the second half.
    """
    for stage in case.result.stages:
        for series, drift in stage.drifts.items():
            unit = unit_of(series) or "count"
            grown = _RATIO_CREEP if unit == "ratio" else _CREEP_RATIO
            growth = drift.slope_per_hour * drift.length_s / _S_PER_HOUR if unit == "ratio" else drift.growth_ratio
            keeps_on = drift.late_slope_per_hour > 0.5 * drift.slope_per_hour > 0
            if keeps_on and drift.grows and growth is not None and growth > grown:
                figures: dict[str, float | str] = {
                    "series": series,
                    "length_s": drift.length_s,
                    "growth_ratio": growth,
                    f"start_{unit}": drift.start,
                    f"per_hour_{unit}": drift.slope_per_hour,
                    f"low_{unit}": "-" if drift.low_per_hour is None else drift.low_per_hour,
                    f"high_{unit}": "-" if drift.high_per_hour is None else drift.high_per_hour,
                }
                yield Finding(f"creep_{unit}", "warning", case.result.name, stage.span.name, figures=figures)
