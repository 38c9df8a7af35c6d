"""The section on hot reload: the figure, each kind over its repeats, a row for each reload, the answering versions, what the reloads
left behind.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.stats.percentile import Distribution
from trtbench.analysis.summary import Summary
from trtbench.experiments.hot_reload.reload_groups import Pool, ReloadGroup, Spread
from trtbench.experiments.hot_reload.reload_result import ReloadResult
from trtbench.experiments.hot_reload.reloads import RELOADS, Reloads, Rise
from trtbench.report.kit.blocks import Block, Figure, Paragraph, Section, Table
from trtbench.report.kit.experiment_report import ExperimentReport
from trtbench.report.kit.format import NONE, ms, number, seconds, size, statistic, times, whole
from trtbench.report.kit.words import Words

_NS_PER_S = 1e9
_COSTS: dict[str, Callable[[ReloadResult], str]] = {
    "ttft_before": lambda one: _both(one.before.ttft_ns if one.before else None),
    "ttft_during": lambda one: _both(one.ttft_ns),
    "ttft_after": lambda one: _both(one.after.ttft_ns if one.after else None),
    "ttft_spike": lambda one: times(one.ttft_spike_ratio),
    "itl_before": lambda one: _both(one.before.itl_ns if one.before else None),
    "itl_during": lambda one: _both(one.itl_ns),
    "itl_spike": lambda one: times(one.itl_spike_ratio),
    "recovery": lambda one: _span(one.recovery_ns),
    "in_window": lambda one: whole(one.requests),
}
_DONE = ("number", "reload", "result", "load_call", "unload_call", "drained", "overlap", "first_penalty", "memory_before", "memory_peak")
_SPREAD: dict[str, tuple[str, Callable[[float], str]]] = {
    "ttft_spike": ("ttft_spike_ratio", times),
    "itl_spike": ("itl_spike_ratio", times),
    "recovery": ("recovery_ns", lambda value: seconds(value / _NS_PER_S)),
    "load_call": ("load_s", seconds),
    "overlap": ("overlap_ns", lambda value: seconds(value / _NS_PER_S)),
    "first_penalty": ("first_request_penalty_ns", ms),
    "lost": ("lost", whole),
}
_POOL: dict[str, Callable[[Pool], str]] = {
    "windows": lambda pool: str(pool.windows),
    "pool_ttft_before": lambda pool: _counted(pool.before_ttft_ns),
    "pool_ttft": lambda pool: _counted(pool.ttft_ns),
    "pool_ttft_spike": lambda pool: times(pool.ttft_spike_ratio),
    "pool_without_one": lambda pool: " … ".join(map(ms, pool.ttft_p99_without_one_ns or (None,))),
    "pool_itl_before": lambda pool: _counted(pool.before_itl_ns),
    "pool_itl": lambda pool: _counted(pool.itl_ns),
    "pool_itl_spike": lambda pool: times(pool.itl_spike_ratio),
}


def reload_blocks(summary: Summary, words: Words, drawings: Collection[str]) -> list[Block]:
    blocks: list[Block] = []
    for result in summary.deployments:
        if found := result.found[RELOADS]:
            blocks += _deployment_blocks(result, found, words, drawings)
    return [*blocks, Paragraph(words("hot_reload.note"))] if blocks else []


def _deployment_blocks(result: DeploymentResult, found: Reloads, words: Words, drawings: Collection[str]) -> list[Block]:
    costs = tuple(_cost_row(one, words) for one in found.reloads)
    done = tuple(_done_row(one, words) for one in found.reloads)
    figure = f"reloads-{result.name}"
    blocks: list[Block] = [Figure(figure, words("figure.reloads", deployment=result.name))] if figure in drawings else []
    blocks += [_spread(result, found, words), _pool(result, found, words)] if any(group.repeats > 1 for group in found.groups) else []
    header = words.header("number", "reload", *_shown(_COSTS, words), "not_completed")
    blocks += [
        Table(header, costs, words("hot_reload.costs", deployment=result.name), labels=2),
        Table(words.header(*_DONE), done, words("hot_reload.done", deployment=result.name), labels=3),
        _versions(result, found, words),
    ]
    errors = tuple((str(one.number), _kind(one, words), one.error) for one in found.reloads if one.error)
    if errors:
        header = words.header("number", "reload", "server_said")
        blocks.append(Table(header, errors, words("hot_reload.errors", deployment=result.name), numeric=False))
    rises = tuple(_rise_row(name, rise) for name, rise in found.rises.items())
    header = words.header("series", "per_reload", "rise_interval", "readings")
    return [*blocks, Table(header, rises, words("hot_reload.slopes", deployment=result.name))]


def _shown(columns: Iterable[str], words: Words) -> list[str]:
    return words.task.shown("hot_reload", columns)


def _pool(result: DeploymentResult, found: Reloads, words: Words) -> Table:
    shown = _shown(_POOL, words)
    rows = tuple((_kind(group.example, words), *(_POOL[column](group.pool) for column in shown)) for group in found.groups)
    header = words.header("reload", *shown)
    return Table(header, rows, words("hot_reload.pool", deployment=result.name), words("hot_reload.pool_note"))


def _spread(result: DeploymentResult, found: Reloads, words: Words) -> Table:
    header = words.header("reload", "repeats", *_shown(_SPREAD, words))
    rows = tuple(_spread_row(group, words) for group in found.groups)
    return Table(header, rows, words("hot_reload.spread", deployment=result.name), words("hot_reload.spread_note"))


def _spread_row(group: ReloadGroup, words: Words) -> tuple[str, ...]:
    shown = [_SPREAD[column] for column in _shown(_SPREAD, words)]
    figures = (_middle(group.figures[name], form, group.repeats) for name, form in shown)
    return (_kind(group.example, words), str(group.repeats), *figures)


def _middle(spread: Spread | None, form: Callable[[float], str], repeats: int) -> str:
    """The median (min to max) or the only value, with the number of repeats that have the figure if some lack it."""
    if spread is None:
        return NONE
    text = form(spread.median) if spread.count == 1 else f"{form(spread.median)} ({form(spread.min)} … {form(spread.max)})"
    return text if spread.count == repeats else f"{text} [{spread.count}/{repeats}]"


def _cost_row(one: ReloadResult, words: Words) -> tuple[str, ...]:
    figures = (_COSTS[column](one) for column in _shown(_COSTS, words))
    failed = words.listed([f"{count} {outcome}" for outcome, count in one.failed.items()]) or "0"
    return (str(one.number), _kind(one, words), *figures, failed)


def _done_row(one: ReloadResult, words: Words) -> tuple[str, ...]:
    return (
        str(one.number),
        _kind(one, words),
        _result(one, words),
        seconds(one.load_s),
        seconds(one.unload_s),
        seconds(one.drain_s),
        _span(one.overlap_ns),
        ms(one.first_request_penalty_ns),
        f"{size(one.rss_before_bytes)} / {size(one.gpu_before_bytes)}",
        f"{size(one.rss_peak_bytes)} / {size(one.gpu_peak_bytes)}",
    )


def _kind(one: ReloadResult, words: Words) -> str:
    broken = words(f"hot_reload.breaks_{one.breaks}") if one.breaks else ""
    warm = words("hot_reload.warmup") if one.warmup else ""
    name, known = words(f"hot_reload.{one.kind}"), [detail for detail in (one.to, broken, warm) if detail]
    return words("hot_reload.kind_to", kind=name, to=words.listed(known)) if known else name


def _result(one: ReloadResult, words: Words) -> str:
    if one.end_ns is None:
        return words("hot_reload.unfinished")
    if one.loaded:
        return words(
            "hot_reload.loaded_broken" if one.kind == "broken" else "hot_reload.loaded_incomplete" if one.error else "hot_reload.loaded"
        )
    if one.served_on is None:
        return words("hot_reload.refused_unknown")
    return words("hot_reload.refused", versions=words.listed(one.served_on)) if one.served_on else words("hot_reload.refused_down")


def _versions(result: DeploymentResult, found: Reloads, words: Words) -> Table:
    start_ns = found.opened_ns
    rows = tuple(
        (version, whole(use.completed), _span(use.first_sent_ns - start_ns), _span(use.last_done_ns - start_ns))
        for version, use in found.versions.items()
    )
    header = words.header("version", "completed", "first_sent", "last_done")
    return Table(header, rows, words("hot_reload.versions", deployment=result.name))


def _both(values: Distribution | None) -> str:
    return f"{statistic(values, 'p99', ms)} / {ms(values.max)}" if values else f"{NONE} / {NONE}"


def _counted(values: Distribution) -> str:
    return f"{statistic(values, 'p99', ms)} ({whole(values.count)})"


def _span(value_ns: int | None) -> str:
    return NONE if value_ns is None else seconds(value_ns / _NS_PER_S)


def _rise_row(name: str, rise: Rise | None) -> tuple[str, ...]:
    if rise is None:
        return (name, NONE, NONE, NONE)
    form = size if name.endswith("_bytes") else number
    low, high = form(rise.per_reload - rise.half_width), form(rise.per_reload + rise.half_width)
    return (name, form(rise.per_reload), f"{low} … {high}", str(rise.readings))


def _sections(summary: Summary, words: Words, drawings: tuple[str, ...]) -> list[Section]:
    return [Section(words("section.hot_reload"), tuple(reload_blocks(summary, words, drawings)))]


REPORT = ExperimentReport(sections=_sections)
