"""The core table: concurrency, QPS, P99 latency, GPU utilization, error rate, and the figures that explain them."""

from __future__ import annotations

from collections.abc import Sequence

from trtbench.analysis.deployment_result import DeploymentResult, NotRun
from trtbench.analysis.metrics import METRICS
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stats.percentile import PERMILLES, needed_samples
from trtbench.analysis.summary import Summary
from trtbench.experiments.registry import roles
from trtbench.report.kit.blocks import Block, Paragraph, Table
from trtbench.report.kit.columns import Cell, chosen
from trtbench.report.kit.experiment_report import ExperimentReport
from trtbench.report.kit.format import marked, number
from trtbench.report.kit.grouping import in_rounds, is_many, key_figures
from trtbench.report.kit.words import Words
from trtbench.report.sections.round_tables import rows_of_rounds
from trtbench.report.sections.stage_tables import unsteady_note
from trtbench.scenario.parts.choices import Language

Columns = dict[str, Cell[StageResult]]


def _columns(summary: Summary, words: Words) -> Columns:
    return chosen("core", key_figures(summary), METRICS, words.task)


def load_label(stage: StageResult, words: Words) -> str:
    """The level of load, with the stage's name if stages share the level: one with its own duplicates, or one that repeats another's
    requests.
    """
    level = _level(stage, words)
    text = level if stage.same_as is None and stage.duplicate_ratio is None else f"{level} ({stage.span.name})"
    return marked(text, stage.uncertainty.changed)


def _level(stage: StageResult, words: Words) -> str:
    """The users of a closed loop as a number, or the rate of an open loop with its unit.

    A level that was not reached is printed together with the one that was. A ramp has both ends, bursts have their mean rate, a trace its
    speed.
    """
    asked, mode = f"{stage.span.asked:g}", stage.span.mode
    if mode == "trace":
        return words("mode.trace_at", speed=asked)
    if not stage.reaches_level:
        asked = words("mode.reached", asked=asked, reached=number(stage.level))
    level = asked if stage.ramp_from is None else words("mode.ramp", first=f"{stage.ramp_from:g}", last=asked)
    return level if stage.is_closed_loop else words("mode.rate", rate=level, mode=words(f"mode.{mode}"))


def core_table(summary: Summary, language: Language) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """(Header, rows) of text over all deployments, for a terminal."""
    words = Words(language, summary.scenario.task)
    if in_rounds(summary):
        return rows_of_rounds(summary, words)
    columns = _columns(summary, words)
    header = (words("col.deployment"), words("col.load"), *words.header(*columns))
    rows = [(result.name, *_row(stage, columns, words)) for result in summary.deployments for stage in result.stages]
    return header, rows


def core_blocks(summary: Summary, words: Words) -> list[Block]:
    """A table for each deployment and kind of loop, so that users and rates are never in one column."""
    blocks: list[Block] = []
    experiments = tuple(roles(ExperimentReport))
    loaded = [result for result in summary.deployments if result.stages or not any(role.replaces_load(result) for role in experiments)]
    if not loaded:
        return []
    columns = _columns(summary, words)
    if is_many(summary):
        blocks += _one_table(loaded, columns, words)
    else:
        blocks += [block for result in loaded for block in _deployment_blocks(result, columns, words)]
    if not any(stage.resources.gpus for result in summary.deployments for stage in result.stages):
        blocks.append(Paragraph(words("core.no_gpu", nvml=summary.environment.nvml)))
    limits = {name: needed_samples(PERMILLES[name]) for name in ("p50", "p99")}
    blocks += [Paragraph(words("core.note", **limits)), *unsteady_note(summary, words)]
    return blocks


def _one_table(results: Sequence[DeploymentResult], columns: Columns, words: Words) -> list[Block]:
    """A table for users and one for rates, with a row for each deployment and stage."""
    blocks: list[Block] = []
    for closed, key in ((True, "col.users"), (False, "col.rate")):
        rows = tuple((r.name, *_row(stage, columns, words)) for r in results for stage in r.stages if stage.is_closed_loop is closed)
        header = (words("col.deployment"), words(key), *words.header(*columns))
        blocks += [Table(header, rows)] if rows else []
    left = [f"{r.name}: {words.listed([_why(stage, words) for stage in r.not_run])}" for r in results if r.not_run]
    return [*blocks, Paragraph(words("core.not_run", stages="; ".join(left)))] if left else blocks


def _deployment_blocks(result: DeploymentResult, columns: Columns, words: Words) -> list[Block]:
    blocks: list[Block] = []
    for closed, key in ((True, "col.users"), (False, "col.rate")):
        stages = [stage for stage in result.stages if stage.is_closed_loop is closed]
        if stages:
            header = (words(key), *words.header(*columns))
            caption = result.name if closed else words("core.open_loop", deployment=result.name)
            blocks.append(Table(header, tuple(_row(stage, columns, words) for stage in stages), caption))
    if not blocks:
        blocks.append(Paragraph(words("core.nothing", deployment=result.name)))
    if result.not_run:
        blocks.append(Paragraph(words("core.not_run", stages=words.listed([_why(stage, words) for stage in result.not_run]))))
    return blocks


def _why(stage: NotRun, words: Words) -> str:
    return f"{stage.name} ({words(f'ended.{stage.why}')})" if stage.why else stage.name


def _row(stage: StageResult, columns: Columns, words: Words) -> tuple[str, ...]:
    return (load_label(stage, words), *(cell(stage) for cell in columns.values()))
