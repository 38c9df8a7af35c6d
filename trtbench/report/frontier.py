"""The batching grid in words: the cells with their intervals, the winner, and its stanza ready to paste."""

from __future__ import annotations

from collections.abc import Callable

from trtbench.analysis.summary import Cell, Estimate, Frontier, Summary
from trtbench.report.blocks import Block, Bullets, Code, Paragraph, Table
from trtbench.report.format import NONE, ms, number, percent
from trtbench.report.words import Words
from trtbench.scenario import Cells, Deployment, cells_of

_LOAD = ("cell", "repeats", "tokens", "requests", "ttft", "itl", "e2e", "goodput", "within_slo", "pareto")
_BATCHERS = ("cell", "hit", "mean_batch", "fill", "queue", "running", "batched")


def frontier_blocks(summary: Summary, words: Words) -> list[Block]:
    """Nothing of a scenario without a grid."""
    grid = summary.scenario.grid
    if grid is None or grid.base is None or not summary.frontiers:
        return []
    found = cells_of(grid, grid.base, grid.cell_of(next(iter(summary.scenario.deployments))))
    blocks: list[Block] = []
    for frontier in summary.frontiers:
        blocks += _frontier(frontier, found, words)
    if found.left_out:
        blocks.append(Paragraph(words("frontier.left_out"), strong=True))
        blocks.append(Bullets(tuple(f"{name}: {why}" for name, why in found.left_out.items())))
    return [*blocks, Paragraph(words("frontier.note"))]


def _frontier(frontier: Frontier, found: Cells, words: Words) -> list[Block]:
    place = {"stage": frontier.stage, "dtype": frontier.dtype}
    rows = tuple(_load_row(cell, words) for cell in frontier.cells)
    batchers = tuple(_batcher_row(cell) for cell in frontier.cells)
    shown = {f"{name.removesuffix('_ns').split('_')[0]}_at": at.upper() for name, at in frontier.percentiles.items()}
    blocks: list[Block] = [
        Table(tuple(words(f"frontier.col_{column}", **shown) for column in _LOAD), rows, words("frontier.caption", **place)),
        Table(tuple(words(f"frontier.col_{column}") for column in _BATCHERS), batchers, words("frontier.batchers", **place)),
        Paragraph(_sentence(frontier, words), strong=True),
    ]
    if frontier.winner:
        blocks += [Paragraph(words("frontier.stanza", cell=frontier.winner.cell)), Code(stanza(found.cells[frontier.winner.cell]))]
    return blocks


def _load_row(cell: Cell, words: Words) -> tuple[str, ...]:
    rates = (_estimate(cell.output_token_throughput, number), _estimate(cell.request_throughput, number))
    latencies = tuple(_estimate(value, ms) for value in (cell.ttft_ns, cell.itl_ns, cell.e2e_latency_ns))
    pareto = NONE if cell.pareto is None else words("frontier.yes" if cell.pareto else "frontier.no")
    return (cell.name, str(cell.repeats), *rates, *latencies, _estimate(cell.goodput, number), percent(cell.within_slo_ratio), pareto)


def _batcher_row(cell: Cell) -> tuple[str, ...]:
    triton = (percent(cell.batch_hit_ratio), number(cell.mean_batch), percent(cell.fill_ratio), ms(cell.queue_ns))
    return (cell.name, *triton, number(cell.running), percent(cell.batched_ratio))


def _estimate(value: Estimate | None, shown: Callable[[float | None], str]) -> str:
    if value is None:
        return NONE
    return shown(value.mean) if value.half_width is None else f"{shown(value.mean)} ± {shown(value.half_width)}"


def _sentence(frontier: Frontier, words: Words) -> str:
    place, best = {"stage": frontier.stage, "dtype": frontier.dtype}, frontier.winner
    if best is None:
        slo = any(cell.goodput for cell in frontier.cells)
        return words("frontier.none_keeps" if slo else "frontier.none_complete", **place)
    figures = place | {"cell": best.cell, "figure": words(f"frontier.{best.figure}")}
    if best.second is None:
        return words("frontier.only", **figures)
    figures |= {"second": best.second, "margin": percent(best.margin_ratio)}
    if best.clear is None:
        return words("frontier.unknown", **figures)
    return words("frontier.clear" if best.clear else "frontier.unclear", **figures, rivals=words.listed(best.rivals))


def stanza(deployment: Deployment) -> str:
    """What the cell's config.pbtxt says of Triton's batcher, and as a comment what belongs to the engine."""
    scheduler = deployment.scheduler
    lines = [f"max_batch_size: {deployment.max_batch_size}"]
    batching = deployment.dynamic_batching
    if batching:
        sizes, policy = ", ".join(map(str, batching.preferred_batch_sizes)), batching.queue_policy
        lines.append("dynamic_batching {")
        lines += [f"  preferred_batch_size: [ {sizes} ]"] if sizes else []
        lines.append(f"  max_queue_delay_microseconds: {batching.max_queue_delay_us}")
        lines.append(f"  preserve_ordering: {str(batching.preserve_ordering).lower()}")
        if batching.priority_levels:
            lines.append(f"  priority_levels: {batching.priority_levels}")
            lines.append(f"  default_priority_level: {batching.default_priority_level}")
        lines.append("  default_queue_policy {")
        lines.append(f"    timeout_action: {policy.timeout_action.upper()}")
        lines.append(f"    default_timeout_microseconds: {policy.timeout_us}")
        lines.append(f"    max_queue_size: {policy.max_queue_size}")
        lines += ["  }", "}"]
    lines.append(f"# engine: max_sequences {scheduler.max_sequences}, max_tokens_per_step {scheduler.max_tokens_per_step}")
    lines.append(f"# instances: {deployment.instances}")
    return "\n".join(lines) + "\n"
