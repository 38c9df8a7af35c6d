"""Scaling in the report: every point with its intervals, where the curve bends and why, and how the servers shared the requests."""

from __future__ import annotations

from collections.abc import Sequence

from trtbench.analysis.stats.usl import LEAST_POINTS, ScalabilityLaw
from trtbench.analysis.summary import Summary
from trtbench.experiments.scaling.scaling_curve import SCALINGS, ScalingCurve, ScalingPoint
from trtbench.report.kit.blocks import Block, Bullets, Figure, Paragraph, Section, Table
from trtbench.report.kit.experiment_report import ExperimentReport
from trtbench.report.kit.format import NONE, estimate, ms, number, percent, times
from trtbench.report.kit.words import Words

_POINTS = ("units", "repeats", "asked", "tokens", "requests", "ttft", "e2e", "speedup", "efficiency")
_RESOURCES = ("units", "server", "client", "balancer", "machine", "gpu", "kv", "running", "shares")


def scaling_blocks(summary: Summary, words: Words) -> list[Block]:
    """The section of a scaling; empty for a scenario without one."""
    if not summary.found[SCALINGS]:
        return []
    blocks = [block for curve in summary.found[SCALINGS] for block in _curve(curve, words)]
    scaling = summary.scenario.scaling
    if scaling and scaling.left_out:
        blocks.append(Paragraph(words("scaling.left_out"), strong=True))
        blocks.append(Bullets(tuple(f"{name}: {why}" for name, why in scaling.left_out.items())))
    few = any(curve.law is None for curve in summary.found[SCALINGS])
    return [*blocks, *([Paragraph(words("scaling.law_few", least=LEAST_POINTS))] if few else []), Paragraph(words("scaling.note"))]


def _curve(curve: ScalingCurve, words: Words) -> list[Block]:
    place = {"axis": words(f"scaling.axis_{curve.axis}"), "stage": curve.stage, "dtype": curve.dtype}
    caption = words("scaling.caption", **place)
    if curve.balancer:
        caption = words("scaling.balanced", caption=caption, balancer=words(f"scaling.by_{curve.balancer}"))
    at = curve.percentile.upper()
    disturbed = [str(point.units) for point in curve.points if point.usage.disturbed]
    return [
        Paragraph(_sentence(curve, place, words), strong=True),
        _table(_POINTS, [_row(point, point is curve.points[0], words) for point in curve.points], caption, at, words),
        _table(_RESOURCES, [_resources(point) for point in curve.points], words("scaling.resources", **place), at, words),
        *([Paragraph(words("scaling.disturbed", points=words.listed(disturbed)))] if disturbed else []),
        *([Paragraph(words("scaling.not_filled"))] if curve.filled is False else []),
        *([Paragraph(_law(curve, curve.law, words))] if curve.law else []),
    ]


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]], caption: str, at: str, words: Words) -> Table:
    kept = [columns.index(column) for column in words.task.shown("scaling", columns)]
    header = tuple(words(f"scaling.col_{columns[i]}", at=at) for i in kept)
    return Table(header, tuple(tuple(row[i] for i in kept) for row in rows), caption)


def _row(point: ScalingPoint, first: bool, words: Words) -> tuple[str, ...]:
    """A row of the table. The first point is the reference: its speed-up is 1 by definition and has no interval."""
    rates = (estimate(point.output_token_throughput, number), estimate(point.request_throughput, number))
    latencies = (estimate(point.ttft_ns, ms), estimate(point.e2e_latency_ns, ms))
    if first:
        shares = times(point.speedup.mean if point.speedup else None), percent(point.efficiency.mean if point.efficiency else None)
    else:
        shares = estimate(point.speedup, times), estimate(point.efficiency, percent)
    return (str(point.units), str(point.repeats), _asked(point, words), *rates, *latencies, *shares)


def _asked(point: ScalingPoint, words: Words) -> str:
    if point.reached == point.asked:
        return number(point.asked)
    return words("mode.reached", asked=number(point.asked), reached=number(point.reached))


def _resources(point: ScalingPoint) -> tuple[str, ...]:
    use = point.usage
    cores = (number(use.server_cpu_cores), number(use.client_cpu_cores), number(use.balancer_cpu_cores))
    ratios = (percent(use.machine_cpu_ratio), percent(use.gpu_ratio), percent(use.kv_peak_ratio))
    shares = " / ".join(NONE if count is None else f"{count:,}" for count in point.requests) or NONE
    return (str(point.units), *cores, *ratios, number(use.running_per_engine), shares)


def _sentence(curve: ScalingCurve, place: dict[str, str], words: Words) -> str:
    bound, bend, largest = percent(curve.bound_ratio), curve.bend, curve.largest
    if largest is None or largest.efficiency is None:
        return words("scaling.nothing", **place)
    if bend is None or bend.efficiency is None:
        return words("scaling.no_bend", **place, units=largest.units, efficiency=percent(largest.efficiency.mean), bound=bound)
    why = words.listed([words(f"scaling.why_{limiter}") for limiter in curve.limiters])
    sure = {True: "clear", False: "unclear", None: "one_repeat"}[curve.bend_clear]
    seen = words("scaling.bends", **place, units=bend.units, efficiency=percent(bend.efficiency.mean), bound=bound)
    return " ".join((seen, words(f"scaling.{sure}"), words("scaling.why", why=why)))


def _law(curve: ScalingCurve, law: ScalabilityLaw, words: Words) -> str:
    fitted = words(
        "scaling.law",
        contention=estimate(curve.contention, number) if curve.contention else number(law.contention),
        coherency=estimate(curve.coherency, number) if curve.coherency else number(law.coherency),
        residual=percent(law.residual_ratio),
    )
    if law.peak_units is None:
        return f"{fitted} {words('scaling.law_no_peak')}"
    seen = law.peak_units <= curve.points[-1].units
    return f"{fitted} {words('scaling.law_peak' if seen else 'scaling.law_peak_beyond', peak=number(law.peak_units))}"


def _sections(summary: Summary, words: Words, drawings: tuple[str, ...]) -> list[Section]:
    drawn = [Figure("scaling", words("figure.scaling"))] if "scaling" in drawings else []
    return [Section(words("section.scaling"), (*drawn, *scaling_blocks(summary, words)))]


def _parameters(summary: Summary, words: Words) -> list[tuple[str, str]]:
    scaling = summary.scenario.scaling
    return [(words("parameters.scaling"), words(f"scaling.load_{scaling.load}"))] if scaling else []


REPORT = ExperimentReport(sections=_sections, parameters=_parameters)
