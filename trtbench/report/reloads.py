"""The section on hot reload: a row a reload, who answered, and what the reloads left behind."""

from __future__ import annotations

from trtbench.analysis.summary import DeploymentResult, Distribution, ReloadResult, Reloads, Summary
from trtbench.report.blocks import Block, Paragraph, Table
from trtbench.report.format import NONE, ms, number, seconds, size, times, whole
from trtbench.report.words import Words

_NS_PER_S = 1e9
_COSTS = (
    *("number", "reload", "ttft_before", "ttft_during", "ttft_spike", "itl_before", "itl_during", "itl_spike"),
    *("recovery", "in_window", "not_completed"),
)
_DONE = ("number", "reload", "result", "load_call", "unload_call", "overlap", "first_penalty", "rss_before", "rss_peak")


def reload_blocks(summary: Summary, words: Words) -> list[Block]:
    blocks: list[Block] = []
    for result in summary.deployments:
        if result.reloads:
            blocks += _deployment_blocks(result, result.reloads, words)
    return [*blocks, Paragraph(words("hot_reload.note"))] if blocks else []


def _deployment_blocks(result: DeploymentResult, found: Reloads, words: Words) -> list[Block]:
    costs = tuple(_cost_row(one, words) for one in found.reloads)
    done = tuple(_done_row(one, words) for one in found.reloads)
    blocks: list[Block] = [
        Table(_header(words, *_COSTS), costs, words("hot_reload.costs", deployment=result.name), labels=2),
        Table(_header(words, *_DONE), done, words("hot_reload.done", deployment=result.name), labels=3),
        _versions(result, found, words),
    ]
    errors = tuple((str(one.number), words(f"hot_reload.{one.kind}"), one.error) for one in found.reloads if one.error)
    if errors:
        header = _header(words, "number", "reload", "server_said")
        blocks.append(Table(header, errors, words("hot_reload.errors", deployment=result.name), numeric=False))
    slopes = tuple((name, _slope(name, value)) for name, value in found.slopes.items())
    blocks.append(Table(_header(words, "series", "per_reload"), slopes, words("hot_reload.slopes", deployment=result.name)))
    return blocks


def _cost_row(one: ReloadResult, words: Words) -> tuple[str, ...]:
    none = Distribution(0)
    before_ttft, before_itl = (one.before.ttft_ns, one.before.itl_ns) if one.before else (none, none)
    return (
        str(one.number),
        _kind(one, words),
        _both(before_ttft),
        _both(one.ttft_ns),
        times(one.ttft_spike_ratio),
        _both(before_itl),
        _both(one.itl_ns),
        times(one.itl_spike_ratio),
        _span(one.recovery_ns),
        whole(one.requests),
        words.listed([f"{count} {outcome}" for outcome, count in one.failed.items()]) or "0",
    )


def _done_row(one: ReloadResult, words: Words) -> tuple[str, ...]:
    return (
        str(one.number),
        _kind(one, words),
        _result(one, words),
        seconds(one.load_s),
        seconds(one.unload_s),
        _span(one.overlap_ns),
        ms(one.first_request_penalty_ns),
        size(one.rss_before_bytes),
        size(one.rss_peak_bytes),
    )


def _kind(one: ReloadResult, words: Words) -> str:
    name = words(f"hot_reload.{one.kind}")
    return words("hot_reload.kind_to", kind=name, to=one.to) if one.to else name


def _result(one: ReloadResult, words: Words) -> str:
    if one.end_ns is None:
        return words("hot_reload.unfinished")
    if one.loaded:
        return words("hot_reload.loaded" if one.as_meant else "hot_reload.loaded_broken")
    if one.served_on is None:
        return words("hot_reload.refused_unknown")
    return words("hot_reload.refused", versions=words.listed(one.served_on)) if one.served_on else words("hot_reload.refused_down")


def _versions(result: DeploymentResult, found: Reloads, words: Words) -> Table:
    start_ns = found.opened_ns
    rows = tuple(
        (version, whole(use.completed), _span(use.first_sent_ns - start_ns), _span(use.last_done_ns - start_ns))
        for version, use in found.versions.items()
    )
    header = _header(words, "version", "completed", "first_sent", "last_done")
    return Table(header, rows, words("hot_reload.versions", deployment=result.name))


def _both(values: Distribution) -> str:
    return f"{ms(values.p99)} / {ms(values.max)}"


def _span(value_ns: int | None) -> str:
    return NONE if value_ns is None else seconds(value_ns / _NS_PER_S)


def _slope(name: str, value: float | None) -> str:
    return size(value) if name.endswith("_bytes") else number(value)


def _header(words: Words, *columns: str) -> tuple[str, ...]:
    return tuple(words(f"col.{column}") for column in columns)
