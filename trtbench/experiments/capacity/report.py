"""The report's section on the capacity: the answer in one sentence, the figure of the probes, and the evidence of each."""

from __future__ import annotations

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.summary import Summary
from trtbench.experiments.capacity.capacity_found import CAPACITY, CapacityFound, ClauseResult, ProbeResult
from trtbench.report.kit.blocks import Block, Bullets, Figure, Paragraph, Section, Table
from trtbench.report.kit.experiment_report import ExperimentReport
from trtbench.report.kit.format import NONE, number, percent, seconds, whole
from trtbench.report.kit.words import Words

_COLUMNS = ("probe", "probed_load", "probe_verdict", "clause", "within_limit", "probe_requests", "dispersion", "jointly_kept", "window")
_RATES = ("request_rate", "tokens")


def capacity_blocks(summary: Summary, words: Words, drawings: tuple[str, ...]) -> list[Block]:
    blocks: list[Block] = []
    for result in summary.deployments:
        if found := result.found[CAPACITY]:
            figure = f"capacity-{result.name}"
            blocks.append(Bullets((_sentence(result.name, found, words), *_bounds(summary, result, found, words))))
            blocks += [Figure(figure, words("figure.capacity", deployment=result.name))] if figure in drawings else []
            rows = tuple(row for probe in found.probes for row in _rows(probe, words))
            header = words.header(*_COLUMNS, *_RATES)
            blocks.append(Table(header, rows, words("capacity.caption", deployment=result.name), labels=4))
    return [*blocks, Paragraph(words("capacity.note"))] if blocks else []


def capacity_sentences(summary: Summary, words: Words) -> tuple[str, ...]:
    """A sentence for each deployment that was searched."""
    searched = [(result.name, found) for result in summary.deployments if (found := result.found[CAPACITY])]
    return tuple(_sentence(name, found, words) for name, found in searched)


def _sentence(deployment: str, found: CapacityFound, words: Words) -> str:
    bracket, unit = found.outcome.bracket, words(f"capacity.by_{found.by}")
    figures: dict[str, float | str] = {
        "deployment": deployment,
        "unit": unit,
        "slo": words.listed(found.slo),
        "holds": f"{bracket.holds:g}" if bracket.holds is not None else NONE,
        "breaks": f"{bracket.breaks:g}" if bracket.breaks is not None else NONE,
        "broke": _broke(found, words),
        "rate": number(found.holding.request_throughput) if found.holding else NONE,
    }
    parts = [words(f"capacity.{found.outcome.answer}", **figures)]
    if bracket.undecided:
        parts.append(words("capacity.undecided", levels=words.listed([f"{level:g}" for level in bracket.undecided]), unit=unit))
    if bracket.holds is not None:
        parts.append(words("capacity.confirmed" if bracket.confirmed else "capacity.unconfirmed"))
    if found.ended != "done":
        parts.append(words("capacity.cut_short"))
    return words("capacity.joint").join(parts)


def _broke(found: CapacityFound, words: Words) -> str:
    broken = found.breaking.broken_by if found.breaking else ()
    return NONE if not broken else words("capacity.backlog") if broken[0] == "backlog" else broken[0]


def _bounds(summary: Summary, result: DeploymentResult, found: CapacityFound, words: Words) -> list[str]:
    """What limits the server at the load that breaks the SLO, by the findings about that stage."""
    if found.breaking is None:
        return []
    place = (result.name, found.breaking.stage)
    about = [one for one in summary.findings if place in one.places and not one.code.startswith("capacity_")]
    titles = dict.fromkeys(words.finding(one.code, "title", one.figures) for one in about)
    return [words("capacity.bounded", stage=found.breaking.stage, titles=words.listed(list(titles)))] if titles else []


def _rows(probe: ProbeResult, words: Words) -> list[tuple[str, ...]]:
    """A row for each clause; what belongs to the probe is in the first."""
    verdict = words(f"capacity.probe_{probe.verdict}")
    if probe.doubts:
        verdict = words("capacity.because", verdict=verdict, why=words.listed([words(f"doubt.{code}") for code in probe.doubts]))
    elif "backlog" in probe.broken_by:
        verdict = words("capacity.because", verdict=verdict, why=words("capacity.backlog"))
    own = (probe.stage, f"{probe.level:g}", verdict)
    rates = (number(probe.request_throughput), number(probe.output_token_throughput))
    first, *others = probe.clauses
    rows = [(*own, *_clause(first), percent(probe.jointly_kept_ratio), seconds(probe.seconds), *rates)]
    return rows + [("", "", "", *_clause(one), *[""] * (2 + len(rates))) for one in others]


def _clause(one: ClauseResult) -> tuple[str, ...]:
    share = f"{percent(one.kept_ratio)} ({percent(one.kept_low_ratio)} – {percent(one.kept_high_ratio)})"
    return one.clause, NONE if one.kept_ratio is None else share, whole(one.requests), number(one.dispersion)


def _sections(summary: Summary, words: Words, drawings: tuple[str, ...]) -> list[Section]:
    return [Section(words("section.capacity"), tuple(capacity_blocks(summary, words, drawings)))]


def _parameters(summary: Summary, words: Words) -> list[tuple[str, str]]:
    asked = summary.scenario.capacity
    if asked is None:
        return []
    loads = {"start": f"{asked.start:g}", "least": f"{asked.least_load:g}", "most": f"{asked.most:g}"}
    slo = words.listed([clause.label for clause in asked.slo])
    unit = words(f"capacity.by_{asked.by}")
    search = words("capacity.asked", slo=slo, unit=unit, probes=asked.probes, resolution_ratio=asked.resolution, **loads)
    return [(words("parameters.search"), search)]


REPORT = ExperimentReport(sections=_sections, answer=capacity_sentences, parameters=_parameters)
