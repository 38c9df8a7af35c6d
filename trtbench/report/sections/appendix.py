"""The end of a report: environment, formulas and the settings that were in effect."""

from __future__ import annotations

from collections.abc import Iterable

from trtbench.analysis.metric import Metric
from trtbench.analysis.metrics import METRICS
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Block, Bullets, Code, Paragraph, Table, pairs
from trtbench.report.kit.format import NONE, size, utc
from trtbench.report.kit.words import Words
from trtbench.rundir.records import Environment


def environment(summary: Summary, words: Words) -> list[Block]:
    e = summary.environment
    gpus = words.listed([str(gpu.get("name", gpu)) for gpu in e.gpus])
    rows = [
        (words("environment.cpu"), words("environment.cpu_value", model=e.cpu_model, count=e.cpu_count)),
        (words("environment.memory"), _memory(e, words)),
        (words("environment.gpu"), f"{gpus} ({e.nvml})" if gpus else e.nvml),
        (words("environment.platform"), e.platform),
        (words("environment.python"), e.python),
        (words("environment.packages"), words.listed([f"{name} {version}" for name, version in e.packages.items()]) or NONE),
        (words("environment.variables"), words.listed([f"{name}={value}" for name, value in e.variables.items()]) or NONE),
        (words("environment.started"), utc(e.started_utc)),
        (words("environment.command"), summary.command or NONE),
    ]
    return [pairs(rows)]


def _memory(found: Environment, words: Words) -> str:
    limit_bytes = found.memory_limit_bytes
    if limit_bytes is None or limit_bytes >= found.memory_bytes:
        return size(found.memory_bytes)
    return words("environment.memory_limited", memory_bytes=found.memory_bytes, limit_bytes=limit_bytes)


def formulas(words: Words) -> list[Block]:
    """The formula of each metric that the task has; metrics that share a formula have one row."""
    shown = set(words.task.shown("formula", [metric.name for metric in METRICS]))
    groups = metrics_by_formula([metric for metric in METRICS if metric.name in shown], words)
    rows = tuple((", ".join(metric.name for metric in group), words(f"formula.{key}")) for key, group in groups.items())
    return [Table((words("col.metric"), words("col.formula")), rows, numeric=False)]


def metrics_by_formula(metrics: Iterable[Metric[StageResult]], words: Words) -> dict[str, list[Metric[StageResult]]]:
    """The metrics that have each formula, in the order of the texts."""
    groups: dict[str, list[Metric[StageResult]]] = {key: [] for key in words.keys("formula")}
    for metric in metrics:
        if metric.formula:
            groups[metric.formula].append(metric)
    return {key: group for key, group in groups.items() if group}


def meant_elsewhere(formula: str, words: Words) -> str:
    """The tools that use the name of a metric of this formula with another meaning; "" if there are none."""
    return words(f"elsewhere.{formula}") if formula in words.keys("elsewhere") else ""


def settings(summary: Summary, words: Words) -> list[Block]:
    flags = [f"{r.name}: {' '.join(r.facts.server_flags)}" for r in summary.deployments if r.facts.server_flags]
    server: list[Block] = [Paragraph(words("target.server")), Bullets(tuple(flags))] if flags else []
    return [Code(summary.scenario.dump()), *server]
