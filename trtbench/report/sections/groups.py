"""Parts of a stage side by side: the components of a mixed workload, first and later turns of sessions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from trtbench.analysis.stage.groups import Group
from trtbench.analysis.stage.stage import StageResult
from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Block, Table
from trtbench.report.kit.format import ms, whole
from trtbench.report.kit.words import Words

_COLUMNS = ("requests", "completed", "input_mean", "output_mean", "ttft", "ttft_p99", "tpot", "p50", "p99")


def group_tables(summary: Summary, words: Words) -> list[Block]:
    """Nothing for a workload of one kind without sessions."""
    columns = words.task.shown("groups", _COLUMNS)
    blocks: list[Block] = []
    for result in summary.deployments:
        mixes = _rows(result.stages, lambda stage: stage.mixes, columns)
        turns = _rows(result.stages, lambda stage: {words(f"turn.{name}"): group for name, group in stage.turns.items()}, columns)
        for key, rows in (("component", mixes), ("turn", turns)):
            if rows:
                header = words.header("stage", key, *columns)
                blocks.append(Table(header, rows, words(f"groups.{key}", deployment=result.name), labels=2))
    return blocks


def _rows(
    stages: tuple[StageResult, ...], groups_of: Callable[[StageResult], Mapping[str, Group]], columns: Sequence[str]
) -> tuple[tuple[str, ...], ...]:
    named = ((stage, name, _cells(group)) for stage in stages for name, group in groups_of(stage).items())
    return tuple((stage.span.name, name, *(cells[column] for column in columns)) for stage, name, cells in named)


def _cells(group: Group) -> dict[str, str]:
    counts = (group.requests, group.completed, group.input_tokens.mean, group.output_tokens.mean)
    times_ns = (group.ttft_ns.p50, group.ttft_ns.p99, group.tpot_ns.p50, group.e2e_latency_ns.p50, group.e2e_latency_ns.p99)
    return dict(zip(_COLUMNS, (*map(whole, counts), *map(ms, times_ns)), strict=True))
