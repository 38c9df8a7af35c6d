"""The load generator's own part: how it stamped, how late it was, what it tried again."""

from __future__ import annotations

from trtbench.analysis.deployments import DeploymentResult
from trtbench.analysis.stage.stage import StageResult
from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Block, Table
from trtbench.report.kit.format import NONE, ms, number, percent, whole
from trtbench.report.kit.words import Words

_COLUMNS = ("stage", "stamps", "lag_p50", "lag_p99", "lag_max", "coalesced", "rate_kept", "worker_cpu", "gc_pause", "retries")


def client_tables(summary: Summary, words: Words) -> list[Block]:
    """One a deployment, with what its workers told of their transport."""
    header = words.header(*_COLUMNS)
    return [
        Table(header, tuple(_row(stage, words) for stage in result.stages), result.name, _transport(result, words), labels=2)
        for result in summary.deployments
        if result.stages
    ]


def _row(stage: StageResult, words: Words) -> tuple[str, ...]:
    stamps, workers = stage.stamps, stage.resources.client_workers.values()
    busiest = max((worker.cpu_cores.mean for worker in workers if worker.cpu_cores), default=None)
    pause_ns = max((worker.gc_pause_ns.max for worker in workers if worker.gc_pause_ns), default=None)
    return (
        stage.span.name,
        _stamped_by(stamps.kernel_ratio, words),
        ms(stamps.lag_ns.p50),
        ms(stamps.lag_ns.p99),
        ms(stamps.lag_ns.max),
        percent(stamps.coalesced_ratio),
        percent(stage.sending.rate_ratio),
        number(busiest),
        ms(pause_ns),
        _retries(stage, words),
    )


def _stamped_by(kernel_ratio: float | None, words: Words) -> str:
    if kernel_ratio is None:
        return NONE
    if 0 < kernel_ratio < 1:
        return words("client.partly", share_ratio=kernel_ratio)
    return words("client.kernel" if kernel_ratio else "client.user")


def _retries(stage: StageResult, words: Words) -> str:
    e = stage.conservation
    return words("client.retries", count=e.retries, completed=e.completed_by_retry) if e.retries else whole(0)


def _transport(result: DeploymentResult, words: Words) -> str:
    """What the workers share, and their connections added up."""
    told = result.transports
    if not told:
        return ""
    names = dict.fromkeys(f"{transport.name} ({transport.loop})" if transport.loop else transport.name for transport in told)
    opened, lost = (sum(getattr(transport, name) for transport in told) for name in ("connections", "connections_lost"))
    counts = {"workers": len(told), "connections": opened, "lost": lost}
    return words("client.transport", transport=words.listed(list(names)), **counts)
