"""The report's section on the context limit: the limits found and predicted, every failure with its class, and the growth of cost with
length.
"""

from __future__ import annotations

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.summary import Summary
from trtbench.experiments.context_limit.context_limits import CONTEXT_LIMITS, ContextLimits, Growth, Limit
from trtbench.experiments.context_limit.trials import TrialResult
from trtbench.report.kit.blocks import Block, Figure, Paragraph, Section, Table
from trtbench.report.kit.experiment_report import ExperimentReport
from trtbench.report.kit.format import NONE, ms, number, percent, size, whole
from trtbench.report.kit.words import Words

_FAILURE = ("users", "prompt_tokens", "phase", "failure_class", "rests_on", "kv_peak_blocks", "waiting_peak", "healthy", "blocks_left")
_FAILURE_GPU = ("gpu_memory_before", "gpu_memory_max", "gpu_memory_after")


def limit_blocks(summary: Summary, words: Words, drawings: tuple[str, ...]) -> list[Block]:
    blocks: list[Block] = []
    for result in summary.deployments:
        if limits := result.found[CONTEXT_LIMITS]:
            figure = f"limit-{result.name}"
            blocks += [Figure(figure, words("figure.limit", deployment=result.name))] if figure in drawings else []
            blocks += _deployment_blocks(result, limits, words)
    return [*blocks, Paragraph(words("limit.note"))] if blocks else []


def limit_sentences(summary: Summary, words: Words) -> tuple[str, ...]:
    """A sentence for each deployment and number of users."""
    found = [(result.name, limits) for result in summary.deployments if (limits := result.found[CONTEXT_LIMITS])]
    return tuple(_sentence(name, limit, words) for name, limits in found for limit in limits.limits)


def _deployment_blocks(result: DeploymentResult, limits: ContextLimits, words: Words) -> list[Block]:
    columns = ("users", "last_passed", "first_failed", "failure_class", "rests_on", "confirmed", "predicted", "fits_together", "agrees")
    rows = tuple(_limit_row(limit, limits, words) for limit in limits.limits)
    blocks: list[Block] = [Table(words.header(*columns), rows, words("limit.caption", deployment=result.name))]
    if failed := [trial for trial in limits.trials if not trial.passed]:
        with_gpu = any(trial.gpu_memory_bytes_peak is not None for trial in failed)
        header = words.header(*_FAILURE, *(_FAILURE_GPU if with_gpu else ()), "server_said")
        failures = tuple(_failure_row(trial, with_gpu, words) for trial in failed)
        blocks.append(Table(header, failures, words("limit.failures", deployment=result.name), numeric=False))
    passed = sorted((t for t in limits.trials if t.passed), key=lambda t: (t.users, t.input_tokens))
    header = words.header("users", "prompt_tokens", "ttft_slowest", "kv_peak_blocks", "server_rss", "gpu_memory_max")
    blocks.append(Table(header, tuple(_cost_row(trial) for trial in passed), words("limit.costs", deployment=result.name)))
    if limits.growths:
        header = words.header("users", "cost", "lengths", "law", "explained")
        rows = tuple(_growth_row(growth, words) for growth in limits.growths)
        blocks.append(Table(header, rows, words("limit.growth", deployment=result.name), labels=2))
    return blocks


def _limit_row(limit: Limit, limits: ContextLimits, words: Words) -> tuple[str, ...]:
    agrees = limits.agrees(limit)
    return (
        whole(limit.users),
        whole(limit.passed_tokens),
        whole(limit.failed_tokens),
        words(f"failure.{limit.failure}") if limit.failure else NONE,
        words(f"basis.{limit.basis}") if limit.basis else NONE,
        f"{limit.confirmed}/{limit.confirmed + limit.refuted}",
        words("limit.predicted", tokens=limits.predicted_tokens, rule=words(f"limit.{limits.predicted_by}"))
        if limits.predicted_tokens is not None
        else NONE,
        whole(limit.fits_together_tokens),
        NONE if agrees is None else words("limit.yes" if agrees else "limit.no"),
    )


def _failure_row(trial: TrialResult, with_gpu: bool, words: Words) -> tuple[str, ...]:
    gpu = (trial.gpu_memory_bytes_before, trial.gpu_memory_bytes_peak, trial.gpu_memory_bytes_after)
    healthy = NONE if trial.healthy is None else words("limit.yes" if trial.healthy else "limit.no")
    return (
        whole(trial.users),
        whole(trial.input_tokens),
        words(f"limit.phase_{trial.phase}"),
        words(f"failure.{trial.failure}"),
        words(f"basis.{trial.basis}") if trial.basis else NONE,
        whole(trial.kv_used_blocks_peak),
        whole(trial.waiting_peak),
        healthy,
        whole(trial.blocks_left),
        *(map(size, gpu) if with_gpu else ()),
        _said(trial, words),
    )


def _said(trial: TrialResult, words: Words) -> str:
    """The error of a failed trial, or the memory limit at which the search stopped it."""
    if trial.memory is None:
        return trial.error or NONE
    bytes_of = {"available_bytes": trial.memory.available_bytes, "limit_bytes": trial.memory.limit_bytes}
    return words(f"limit.short_{trial.memory.kind}", **bytes_of)


def _cost_row(trial: TrialResult) -> tuple[str, ...]:
    return (
        whole(trial.users),
        whole(trial.input_tokens),
        ms(trial.ttft_ns),
        whole(trial.kv_used_blocks_peak),
        size(trial.server_rss_bytes_peak),
        size(trial.gpu_memory_bytes_peak),
    )


def _growth_row(growth: Growth, words: Words) -> tuple[str, ...]:
    law = words("limit.power", order=number(growth.slope))
    if growth.figure == "kv_used_blocks_peak" and growth.slope > 0:
        law = words("limit.blocks", base=number(growth.base), tokens=number(1 / growth.slope))
    elif growth.law == "line":
        law = words("limit.line", base=size(growth.base), slope=size(growth.slope))
    return (whole(growth.users), words(f"limit.{growth.figure}"), whole(growth.lengths), law, percent(growth.explained_ratio))


def _sentence(deployment: str, limit: Limit, words: Words) -> str:
    figures: dict[str, float | str] = {"deployment": deployment, "users": limit.users, "tokens": limit.passed_tokens or 0}
    if limit.passed_tokens is None:
        return words("limit.none_passed", **figures)
    if limit.failed_tokens is None or limit.failure is None:
        return words("limit.none_failed", **figures)
    figures |= {"failed_tokens": limit.failed_tokens, "class": words(f"failure.{limit.failure}")}
    return words("limit.sentence", **figures)


def _sections(summary: Summary, words: Words, drawings: tuple[str, ...]) -> list[Section]:
    return [Section(words("section.limit"), tuple(limit_blocks(summary, words, drawings)))]


def _parameters(summary: Summary, words: Words) -> list[tuple[str, str]]:
    asked = summary.scenario.context_limit
    if asked is None:
        return []
    users = words.listed([str(level) for level in asked.concurrency])
    search = words("parameters.search_value", users=users, output_tokens=asked.output_tokens, confirm=asked.confirm)
    return [(words("parameters.search"), search)]


REPORT = ExperimentReport(
    sections=_sections,
    answer=limit_sentences,
    parameters=_parameters,
    replaces_load=lambda result: result.found[CONTEXT_LIMITS] is not None,
)
