"""Tables that check a load by a law: Little's law in each stage, and the Universal Scalability Law over the users."""

from __future__ import annotations

from trtbench.analysis.stage.littles_law import LittlesLaw
from trtbench.analysis.stats.usl import Bounds, UserLaw
from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Block, Table
from trtbench.report.kit.format import NONE, ms, number, percent
from trtbench.report.kit.words import Words


def littles_law_table(summary: Summary, words: Words) -> list[Block]:
    """A row for each stage with enough requests; [] if there is none."""
    named = [(result.name, stage) for result in summary.deployments for stage in result.stages]
    rows = tuple((name, stage.span.name, *_sides(stage.littles_law, words)) for name, stage in named if stage.littles_law)
    header = words.header(
        "deployment", "stage", "in_system", "law_rate", "latency_mean", "think_mean", "law_product", "law_difference", "law_holds"
    )
    return [Table(header, rows, words("law.littles"), words("law.littles_note"), labels=2)] if rows else []


def _sides(law: LittlesLaw, words: Words) -> tuple[str, ...]:
    difference = f"{number(law.difference)} ± {number(law.half_width)}"
    times = (ms(law.latency_ns), ms(law.think_ns))
    return (number(law.in_system), number(law.rate_per_s), *times, number(law.product), difference, words(f"law.why_{law.why or 'holds'}"))


def user_law_table(summary: Summary, words: Words) -> list[Block]:
    """A row for each deployment with four closed-loop levels or more; [] if there is none."""
    rows = tuple((result.name, *_law(result.user_law, words)) for result in summary.deployments if result.user_law)
    header = words.header("deployment", "levels", "contention", "coherency", "residual", "peak_users")
    return [Table(header, rows, words("law.users"), words("law.users_note"))] if rows else []


def _law(one: UserLaw, words: Words) -> tuple[str, ...]:
    law = one.law
    peak = _within(law.peak_units, one.peak_users) if one.is_usable else words("law.no_peak")
    return (
        str(one.levels),
        _within(law.contention, one.contention),
        _within(law.coherency, one.coherency),
        percent(law.residual_ratio),
        peak,
    )


def _within(value: float | None, bounds: Bounds | None) -> str:
    """A value with its interval, as 0.05 (0.03 … 0.08)."""
    if bounds is None:
        return NONE
    return f"{_small(value)} ({_small(bounds.low)} … {'∞' if bounds.high is None else _small(bounds.high)})"


def _small(value: float | None) -> str:
    """Three significant digits, also of a value far below 1, as coherency is."""
    return NONE if value is None else f"{value:.3g}"
