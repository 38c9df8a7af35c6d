"""Findings from laws that hold for every system: Little's law, and the Universal Scalability Law over the users."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.deployment_result import curve_stages
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.findings.rule import Case


def littles_law(case: Case, stage: StageResult) -> Finding | None:
    """Users (of an open loop: the mean number of requests in the system) differ by 5 % or more from completed requests a second x the mean
    time of one, and the 95 % interval of the difference does not contain 0. Not for ramps, bursts, and sessions with pauses.
    """
    law = stage.littles_law
    if law is None or law.holds:
        return None
    figures = {"in_system": law.in_system, "product": law.product, "difference": law.difference, "half_width": law.half_width}
    return Finding(f"law_{law.why}", "info", figures=figures)


def user_peak(case: Case) -> Iterator[Finding]:
    """The Universal Scalability Law, fitted to five closed-loop levels or more, has a highest throughput whose interval spans at most a
    factor of 2, within 4 times the highest level.
    """
    result, one = case.result, case.result.user_law
    if one is None or not one.is_usable or one.peak_users is None or one.law.peak_units is None:
        return
    figures: dict[str, float | str] = {
        "levels": one.levels,
        "contention": f"{one.law.contention:.3g}",
        "coherency": f"{one.law.coherency:.3g}",
        "peak_users": round(one.law.peak_units),
        "low_users": round(one.peak_users.low),
        "high_users": "-" if one.peak_users.high is None else round(one.peak_users.high),
    }
    places = tuple((result.name, stage.span.name) for stage in curve_stages(result.stages))
    yield Finding("user_peak", "info", result.name, figures=figures, rests_on=places)
