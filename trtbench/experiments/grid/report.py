"""The batching grid in the report: the cells with their intervals, the winner, and its configuration stanza to copy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from trtbench.analysis.summary import Summary
from trtbench.experiments.grid.cell import Cell
from trtbench.experiments.grid.frontier import FRONTIERS, Frontier, HeatMap, figure_of, heat_maps
from trtbench.experiments.grid.race import Drop
from trtbench.experiments.grid.spec import Cells, Grid
from trtbench.report.kit.blocks import Block, Bullets, Code, Figure, Paragraph, Section, Table
from trtbench.report.kit.experiment_report import ExperimentReport
from trtbench.report.kit.format import NONE, estimate, ms, number, percent
from trtbench.report.kit.words import Words
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.tasks.generate import GENERATE
from trtbench.tasks.task import Task

WINNER = "★"


def drawing_of(heat: HeatMap) -> str:
    return f"heat-{heat.dtype}-{heat.stage}-{heat.row_axis}-{heat.column_axis}"


def heats(summary: Summary) -> list[tuple[Frontier, HeatMap]]:
    """The heat maps of the last stage of load of each engine. The other stages have tables only."""
    grid, found = summary.scenario.grid, summary.scenario.cells
    if grid is None or found is None or not summary.found[FRONTIERS]:
        return []
    last = {frontier.dtype: frontier for frontier in summary.found[FRONTIERS]}
    return [(frontier, heat) for frontier in last.values() for heat in heat_maps(frontier, grid, found.cells)]


def heat_table(heat: HeatMap, frontier: Frontier, words: Words, folded: bool) -> Table:
    """A table of the deciding figure, with the E2E latency of the same cell below it."""
    header = (f"{heat.row_axis} \\ {heat.column_axis}", *heat.columns)
    rows = tuple((label, *(_entry(cell, heat, frontier) for cell in cells)) for label, cells in zip(heat.rows, heat.cells, strict=True))
    return Table(header, rows, caption(heat, frontier, words), note(heat, words), folded=folded)


def caption(heat: HeatMap, frontier: Frontier, words: Words) -> str:
    at = frontier.percentiles["e2e_latency_ns"].upper()
    return words("frontier.heat", dtype=heat.dtype, stage=heat.stage, figure=words(f"frontier.{heat.figure}"), e2e_at=at)


def note(heat: HeatMap, words: Words) -> str:
    """A sentence on the axes over which a heat map takes the best cell; "" for a grid of two axes."""
    return words("frontier.heat_over", axes=words.listed(heat.over)) if heat.over else ""


def star(cell: Cell, frontier: Frontier) -> str:
    return f" {WINNER}" if frontier.winner and frontier.winner.cell == cell.name else ""


def _entry(cell: Cell | None, heat: HeatMap, frontier: Frontier) -> str:
    if cell is None:
        return NONE
    latency = cell.e2e_latency_ns.mean if cell.e2e_latency_ns else None
    return f"{number(figure_of(cell, heat.figure))} / {ms(latency)} ms{star(cell, frontier)}"


_LOAD = ("cell", "rounds", "tokens", "requests", "ttft", "itl", "e2e", "goodput", "within_slo", "pareto")
_SHORT = {"ttft_ns": "TTFT", "itl_ns": "ITL", "e2e_latency_ns": "E2E"}
_BATCHERS = ("cell", "step_batch", "seen_batch", "in_company", "waiting", "hit", "mean_batch", "fill", "queue", "compute", "padding")


def frontier_blocks(summary: Summary, words: Words, drawings: Sequence[str] = ()) -> list[Block]:
    """The section of a grid; empty for a scenario without one. `drawings` names the figures that were drawn."""
    grid, found = summary.scenario.grid, summary.scenario.cells
    if grid is None or found is None or not summary.found[FRONTIERS]:
        return []
    blocks: list[Block] = [Paragraph(sentence, strong=True) for sentence in winner_sentences(summary, words)]
    blocks += [Figure("frontier", words("figure.frontier"))] if "frontier" in drawings else []
    for frontier in summary.found[FRONTIERS]:
        blocks += [*_frontier(frontier, found, words), *_heat(frontier, grid, found, words, drawings), *_search(frontier, words)]
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
        _table(_LOAD, rows, words("frontier.caption", **place), "", words, shown),
        _table(_BATCHERS, batchers, words("frontier.batchers", **place), _basis(frontier, words), words, {}),
    ]
    if frontier.winner:
        blocks += [
            Paragraph(words("frontier.stanza", cell=frontier.winner.cell)),
            Code(stanza(found.cells[frontier.winner.cell], words.task)),
        ]
    return blocks


def _table(
    columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...], caption: str, note: str, words: Words, shown: Mapping[str, str]
) -> Table:
    kept = [columns.index(column) for column in words.task.shown("frontier", columns)]
    header = tuple(words(f"frontier.col_{columns[at]}", **shown) for at in kept)
    return Table(header, tuple(tuple(row[at] for at in kept) for row in rows), caption, note)


def _heat(frontier: Frontier, grid: Grid, found: Cells, words: Words, drawings: Sequence[str]) -> list[Block]:
    """Each heat map as a figure if it was drawn, with a table, which is folded below a figure."""
    blocks: list[Block] = []
    for heat in heat_maps(frontier, grid, found.cells):
        drawn = drawing_of(heat) in drawings
        blocks += [Figure(drawing_of(heat), ". ".join(filter(None, (caption(heat, frontier, words), note(heat, words)))))] if drawn else []
        blocks.append(heat_table(heat, frontier, words, folded=drawn))
    return blocks


def _search(frontier: Frontier, words: Words) -> list[Block]:
    """What the search saved, and why it dropped cells; empty for a full grid."""
    if frontier.search is None:
        return []
    place = {"stage": frontier.stage, "dtype": frontier.dtype}
    drops = sorted((cell.drop for cell in frontier.cells if cell.drop), key=lambda drop: drop.after_round)
    spent = words("frontier.spent", dtype=frontier.dtype, spent=str(frontier.search.spent), planned=str(frontier.search.planned))
    header = tuple(words(f"frontier.col_{column}") for column in ("cell", "after", "why"))
    rows = tuple((drop.cell, str(drop.after_round), _why(drop, words)) for drop in drops)
    table = Table(header, rows, words("frontier.dropped", **place), numeric=False)
    return [Paragraph(spent), *([table] if rows else [])]


def _why(drop: Drop, words: Words) -> str:
    if drop.why == "below":
        return words("frontier.why_below", leader=drop.leader or NONE, difference=estimate(drop.difference, number))
    if drop.why == "slo":
        return words("frontier.why_slo", share_ratio=drop.within_slo_ratio or 0.0)
    return words("frontier.why_no_figure")


def _load_row(cell: Cell, words: Words) -> tuple[str, ...]:
    rates = (estimate(cell.output_token_throughput, number), estimate(cell.request_throughput, number))
    latencies = tuple(estimate(value, ms) for value in (cell.ttft_ns, cell.itl_ns, cell.e2e_latency_ns))
    pareto = NONE if cell.pareto is None else words.listed([_SHORT[name] for name in cell.pareto]) or words("frontier.no")
    return (cell.name, str(cell.repeats), *rates, *latencies, estimate(cell.goodput, number), percent(cell.within_slo_ratio), pareto)


def _batcher_row(cell: Cell) -> tuple[str, ...]:
    triton = (percent(cell.batch_hit_ratio), number(cell.mean_batch), percent(cell.fill_ratio), ms(cell.queue_ns))
    engine = (number(cell.step_batch), number(cell.seen_batch), percent(cell.in_company_ratio), number(cell.waiting))
    return (cell.name, *engine, *triton, ms(cell.compute_ns), percent(cell.padding_ratio))


def _basis(frontier: Frontier, words: Words) -> str:
    read = [cell.exact for cell in frontier.cells if cell.step_batch is not None]
    return words("frontier.counted" if all(read) else "frontier.sampled") if read else ""


def winner_sentences(summary: Summary, words: Words) -> tuple[str, ...]:
    """A sentence for each engine and stage of a grid."""
    return tuple(words.doubted(_sentence(frontier, words), frontier.doubts) for frontier in summary.found[FRONTIERS])


def _sentence(frontier: Frontier, words: Words) -> str:
    place, best = {"stage": frontier.stage, "dtype": frontier.dtype}, frontier.winner
    if best is None:
        slo = any(cell.goodput for cell in frontier.cells)
        return words("frontier.none_keeps" if slo else "frontier.none_complete", **place)
    figures = place | {"cell": best.cell, "figure": words(f"frontier.{best.figure}")}
    if best.second is None:
        return words("frontier.only", **figures)
    figures |= {"second": best.second, "margin": percent(best.margin_ratio), "difference": estimate(best.difference, number)}
    if best.clear is None:
        return words("frontier.unknown", **figures)
    return words("frontier.clear" if best.clear else "frontier.unclear", **figures, rivals=words.listed(best.rivals))


def stanza(deployment: Deployment, task: Task = GENERATE) -> str:
    """The part of the cell's config.pbtxt about Triton's batcher and response cache. Settings of the server or the engine are comments."""
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
    if cache := deployment.response_cache:
        flags = " ".join(f"--cache-config={cache.kind},{key}={value}" for key, value in cache.settings)
        lines += ["response_cache { enable: true }", f"# tritonserver: {flags}"]
    if not task.batches_in_flight:
        return "\n".join([*lines, f"instance_group [ {{ count: {deployment.instances} }} ]"]) + "\n"
    lines.append(f"# engine: max_sequences {scheduler.max_sequences}, max_tokens_per_step {scheduler.max_tokens_per_step}")
    lines.append(f"# instances: {deployment.instances}")
    return "\n".join(lines) + "\n"


def _sections(summary: Summary, words: Words, drawings: tuple[str, ...]) -> list[Section]:
    return [Section(words("section.frontier"), tuple(frontier_blocks(summary, words, drawings)))]


def _winners(summary: Summary) -> set[tuple[str | None, str]]:
    return {(frontier.dtype, frontier.winner.cell) for frontier in summary.found[FRONTIERS] if frontier.winner}


REPORT = ExperimentReport(sections=_sections, leads=winner_sentences, preferred=_winners)
