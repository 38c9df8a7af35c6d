"""Tables of long stages: what grew and what could have grown unseen, and the stage hour by hour."""

from __future__ import annotations

from collections.abc import Callable

from trtbench.analysis.stage.long_run import HOUR_S, Hour
from trtbench.analysis.stats.trends import Drift
from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Block, Table
from trtbench.report.kit.format import NONE, ms, number, percent, size, whole
from trtbench.report.kit.words import Words
from trtbench.rundir.series import unit_of

_FORMATS: dict[str, Callable[[float | None], str]] = {"bytes": size, "ns": lambda ns: f"{ms(ns)} ms", "ratio": percent}
_HOURS = ("hour", "completed", "failed", "ttft", "ttft_p99", "p99", "rss_mean", "fds_mean", "threads_mean", "gpu_memory_mean", "kv_least")


def long_run_tables(summary: Summary, words: Words) -> list[Block]:
    """For each deployment with a stage of ten minutes or more the drift table, and with one of two hours or more the hours."""
    blocks: list[Block] = []
    for result in summary.deployments:
        rows = tuple(_drift_row(stage.span.name, name, one) for stage in result.stages for name, one in stage.drifts.items())
        if rows:
            header = words.header("stage", "series", "drift_start", "drift_per_hour", "drift_interval", "drift_hidden")
            blocks.append(Table(header, rows, words("long_run.drifts", deployment=result.name), words("long_run.note"), labels=2))
        for stage in result.stages:
            if stage.hours:
                caption = words("long_run.hours", deployment=result.name, stage=stage.span.name)
                blocks.append(Table(words.header(*_HOURS), tuple(map(_hour_row, stage.hours)), caption))
    return blocks


def _drift_row(stage: str, name: str, one: Drift) -> tuple[str, ...]:
    shown = _FORMATS.get(unit_of(name), number)
    interval = NONE if one.low_per_hour is None else f"{_signed(shown, one.low_per_hour)} … {_signed(shown, one.high_per_hour)}"
    return (stage, name, shown(one.start), _signed(shown, one.slope_per_hour), interval, shown(one.hidden_per_hour))


def _signed(shown: Callable[[float | None], str], value: float | None) -> str:
    return f"+{shown(value)}" if value is not None and value > 0 else shown(value)


def _hour_row(hour: Hour) -> tuple[str, ...]:
    first, whole_ns = hour.first_answer_ns, hour.e2e_latency_ns
    return (
        whole(hour.start_s // HOUR_S + 1),
        whole(hour.completed),
        whole(hour.failed),
        *(ms(value) for value in (first.p50, first.p99, whole_ns.p99)),
        size(hour.server_rss_bytes),
        *(whole(value) for value in (hour.server_fds, hour.server_threads)),
        size(hour.gpu_memory_bytes),
        whole(hour.kv_blocks_least),
    )
