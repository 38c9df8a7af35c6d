"""The grid's cells over a run directory whose truth is planted: token times by cell and repeat."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure as Canvas

from tests.support.records import MS, S, request_of
from tests.support.runs.written_run import Served, window, write_run
from trtbench.analysis.stats.estimate import Estimate
from trtbench.analysis.summary import Summary, summarise
from trtbench.analysis.verdict.verdict import Reason
from trtbench.experiments.grid.cell import LATENCIES, Cell, with_pareto
from trtbench.experiments.grid.figure import paint_frontier
from trtbench.experiments.grid.frontier import FRONTIERS, Frontier, heat_maps, winner
from trtbench.experiments.grid.report import frontier_blocks, heat_table
from trtbench.experiments.grid.run import Search
from trtbench.experiments.grid.spec import Grid, cells_of
from trtbench.report.figures.plots import draw
from trtbench.report.kit.blocks import Bullets, Code, Figure, Paragraph, Table
from trtbench.report.kit.grouping import groups_of, shown
from trtbench.report.kit.words import LANGUAGES, Words
from trtbench.report.sections.sections import document
from trtbench.run.log import RunLog
from trtbench.rundir.directory import RunDirectory
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.parts.choices import Language
from trtbench.scenario.reading import parse_scenario

pytestmark = pytest.mark.whole_run

REQUESTS, TOKENS = 40, 10
Steps = dict[str, list[int]]
"""By cell and repeat, milliseconds from a request's due to its first token, and from one token to the next."""


def grid_run(
    path: Path,
    steps: Steps,
    repeats: int = 3,
    slo: dict[str, Any] | None = None,
    search: bool = False,
    more: dict[str, Any] | None = None,
) -> Summary:
    """One user: requests follow each other without pause, so a request takes TOKENS steps and the rate is 1000 / step tokens/s.

    `search`: who is given up is decided as the run does. `more`: axes that change nothing.
    """
    tree = {
        "name": "grid",
        "deployments": {"base": {"dynamic_batching": {"max_queue_delay_us": 700}}},
        "grid": {"max_sequences": [int(name[1:]) for name in steps], "repeats": repeats, "search": search} | (more or {}),
        "load": [{"concurrency": 1, "requests": REQUESTS}],
        "slo": slo or {},
    }
    scenario = parse_scenario(tree, "grid").expanded()
    assert scenario.grid is not None
    grid, served, time_ns = scenario.grid, [], 10 * S
    for name in scenario.deployments:
        every = steps["s" + grid.cell_of(name).rpartition("s")[2]]
        if len(every) >= grid.round_of(name):
            served.append(deployment(name, every[grid.round_of(name) - 1] * MS, time_ns))
            time_ns = served[-1].windows[-1].end_ns + S

    def decide(run: RunDirectory) -> None:
        if search:
            Search(scenario, grid, RunLog(run, lambda event: None)).decide(repeats)

    return summarise(write_run(path, scenario, *served, then=decide))


def deployment(name: str, step_ns: int, start_ns: int) -> Served:
    records, end_ns = [], start_ns
    for i in range(REQUESTS):
        tokens = [end_ns + step_ns * (k + 1) for k in range(TOKENS)]
        records.append(request_of(end_ns, tokens, index=i, prompt=i))
        end_ns = tokens[-1]
    return Served(records, [window("c1", start_ns, end_ns, REQUESTS)], deployment=name, dtype="fp16")


def test_a_planted_winner_is_found_with_its_interval(tmp_path: Path) -> None:
    (frontier,) = grid_run(tmp_path / "run", {"s4": [20, 20, 20], "s8": [10, 10, 8]}).found[FRONTIERS]
    slow, fast = frontier.cells
    assert (slow.name, slow.repeats, slow.complete, slow.pareto) == ("s4", 3, True, ())
    assert slow.output_token_throughput == Estimate(50.0, 0.0, 3)
    assert fast.output_token_throughput is not None and fast.pareto
    assert fast.output_token_throughput.mean == pytest.approx((100 + 100 + 125) / 3)
    assert fast.output_token_throughput.half_width == pytest.approx(4.303 * 14.4338 / 3**0.5, rel=1e-4)  # stdev of 100, 100, 125
    assert frontier.percentiles == {"ttft_ns": "p50", "itl_ns": "p50", "e2e_latency_ns": "p50"}
    assert fast.ttft_ns is not None and fast.ttft_ns.mean == pytest.approx(28 / 3 * MS)
    assert frontier.winner is not None
    assert (frontier.winner.cell, frontier.winner.second, frontier.winner.figure) == ("s8", "s4", "output_token_throughput")
    assert frontier.winner.margin_ratio == pytest.approx(325 / 150 - 1)
    assert frontier.winner.clear and not frontier.winner.rivals
    difference = frontier.winner.difference  # by rounds: 50, 50, 75 tokens/s
    assert difference is not None and difference.mean == pytest.approx(175 / 3)
    assert difference.half_width == pytest.approx(4.303 * 14.4338 / 3**0.5, rel=1e-4)


def test_noise_has_no_winner(tmp_path: Path) -> None:
    (frontier,) = grid_run(tmp_path / "run", {"s4": [10, 20, 16], "s8": [20, 10, 15]}).found[FRONTIERS]
    assert frontier.winner is not None
    assert (frontier.winner.cell, frontier.winner.clear, frontier.winner.rivals) == ("s8", False, ("s4",))


def test_what_drifts_between_rounds_is_no_doubt(tmp_path: Path) -> None:
    """Each cell's own interval is wide, for the machine slows down to a third; that one is 10 % ahead in every round is sure."""
    (frontier,) = grid_run(tmp_path / "run", {"s4": [11, 22, 33], "s8": [10, 20, 30]}).found[FRONTIERS]
    assert frontier.winner is not None and frontier.cells[0].output_token_throughput is not None
    assert frontier.winner.clear is False  # differences of 9.1, 4.5 and 3.0 tokens/s: three rounds are too few to be sure
    (frontier,) = grid_run(tmp_path / "more", {"s4": [11, 22, 22, 11, 22], "s8": [10, 20, 20, 10, 20]}, repeats=5).found[FRONTIERS]
    slow, fast = frontier.cells
    assert slow.output_token_throughput is not None and fast.output_token_throughput is not None
    widths = (slow.output_token_throughput.half_width or 0) + (fast.output_token_throughput.half_width or 0)
    assert abs(slow.output_token_throughput.mean - fast.output_token_throughput.mean) <= widths  # the two intervals meet
    assert frontier.winner is not None and frontier.winner.clear


def test_a_search_says_what_it_spent_and_why_it_gave_cells_up(tmp_path: Path) -> None:
    steps = {"s4": [20, 20], "s8": [10, 10, 10, 10], "s16": [40, 40], "s32": [11, 10, 9, 11]}
    summary = grid_run(tmp_path / "run", steps, repeats=4, search=True)
    (frontier,) = summary.found[FRONTIERS]
    assert frontier.search is not None and (frontier.search.planned, frontier.search.spent) == (16, 12)
    assert {cell.name: (cell.repeats, cell.complete) for cell in frontier.cells} == {
        "s4": (2, True),
        "s8": (4, True),
        "s16": (2, True),
        "s32": (4, True),
    }
    dropped = {cell.name: (cell.drop.after_round, cell.drop.why) for cell in frontier.cells if cell.drop}
    assert dropped == {"s4": (2, "below"), "s16": (2, "below")}
    assert frontier.winner is not None
    assert (frontier.winner.cell, frontier.winner.second, frontier.winner.clear) == ("s8", "s32", False)
    for language in LANGUAGES:
        blocks = frontier_blocks(summary, Words(language))
        assert any(isinstance(block, Paragraph) and "12" in block.text and "16" in block.text for block in blocks)
        assert any(isinstance(block, Table) and block.rows[0][:2] == ("s4", "2") for block in blocks)


def test_a_search_that_is_not_over_has_no_winner_of_fewer_rounds(tmp_path: Path) -> None:
    """Broken off in its third round: the cell that has had only two is not compared as if it were done."""
    steps = {"s4": [10, 11, 10], "s8": [11, 10], "s16": [40, 40]}
    (frontier,) = grid_run(tmp_path / "run", steps, repeats=4, search=True).found[FRONTIERS]
    assert {cell.name: cell.complete for cell in frontier.cells} == {"s4": True, "s8": False, "s16": True}


def test_a_search_that_leaves_one_has_a_clear_winner(tmp_path: Path) -> None:
    (frontier,) = grid_run(tmp_path / "run", {"s4": [20, 20], "s8": [10, 10]}, repeats=3, search=True).found[FRONTIERS]
    assert frontier.winner is not None
    assert (frontier.winner.cell, frontier.winner.second, frontier.winner.clear) == ("s8", "s4", True)
    assert frontier.winner.margin_ratio == pytest.approx(1.0)
    assert frontier.winner.difference == Estimate(50.0, 0.0, 2)


def test_heat_maps_of_three_axes_take_the_best_over_the_third() -> None:
    grid = Grid(max_queue_delay_us=(0, 500), max_sequences=(4, 8), instances=(1, 2), max_tokens_per_step=(64,))
    cells = cells_of(grid, Deployment()).cells
    tokens = {name: float(i) for i, name in enumerate(cells)}
    del tokens["d0-i1-s4-t64"], tokens["d0-i2-s4-t64"]
    found = [planted(name, tokens.get(name)) for name in cells]
    frontier = Frontier("c1", "fp16", tuple(found), dict.fromkeys(("ttft_ns", "itl_ns", "e2e_latency_ns"), "p50"), winner(found))
    maps = heat_maps(frontier, grid, cells)
    assert [(heat.row_axis, heat.column_axis, heat.over) for heat in maps] == [
        ("max_queue_delay_us", "instances", ("max_sequences",)),
        ("max_queue_delay_us", "max_sequences", ("instances",)),
        ("instances", "max_sequences", ("max_queue_delay_us",)),
    ]
    second = maps[1]
    assert (second.rows, second.columns) == (("0", "500"), ("4", "8"))
    assert [[cell and cell.name for cell in row] for row in second.cells] == [[None, "d0-i2-s8-t64"], ["d500-i2-s4-t64", "d500-i2-s8-t64"]]
    table = heat_table(second, frontier, Words("en"), folded=False)
    assert table.rows == (("0", "-", "3.00 / - ms"), ("500", "6.00 / - ms", "7.00 / - ms ★"))
    assert "instances" in table.note


def test_a_frontier_for_each_latency() -> None:
    """The fast one costs ITL, the slow one TTFT: each frontier tells its own."""
    cells = [planted("fast", 100.0), planted("slow", 50.0), planted("dear", 90.0)]
    latencies = {"fast": (10.0, 30.0), "slow": (20.0, 5.0), "dear": (15.0, 40.0)}
    told = [
        replace(cell, ttft_ns=Estimate(latencies[cell.name][0], None, 1), itl_ns=Estimate(latencies[cell.name][1], None, 1))
        for cell in cells
    ]
    assert {cell.name: cell.pareto for cell in with_pareto(told)} == {"fast": ("ttft_ns", "itl_ns"), "slow": ("itl_ns",), "dear": ()}


def planted(name: str, tokens: float | None) -> Cell:
    none = dict.fromkeys(field.name for field in fields(Cell))
    figures = {"name": name, "repeats": 1, "complete": tokens is not None, "exact": False, "by_round": {1: tokens}}
    return Cell(**none | figures | {"output_token_throughput": tokens and Estimate(tokens, None, 1)})


def test_one_repeat_has_no_winner(tmp_path: Path) -> None:
    (frontier,) = grid_run(tmp_path / "run", {"s4": [20], "s8": [10]}, repeats=1).found[FRONTIERS]
    assert frontier.winner is not None and frontier.winner.clear is None
    assert frontier.cells[0].ttft_ns == Estimate(20 * MS, None, 1)


def test_only_a_cell_that_keeps_the_slo_wins(tmp_path: Path) -> None:
    steps = {"s4": [20, 20, 20], "s8": [10, 10, 10]}
    (frontier,) = grid_run(tmp_path / "run", steps, slo={"ttft_ms": 15}).found[FRONTIERS]
    assert frontier.winner is not None
    assert (frontier.winner.cell, frontier.winner.figure, frontier.winner.second) == ("s8", "goodput", None)
    assert [cell.within_slo_ratio for cell in frontier.cells] == [0.0, 1.0]
    (frontier,) = grid_run(tmp_path / "none", steps, slo={"ttft_ms": 5}).found[FRONTIERS]
    assert frontier.winner is None


def test_a_cell_with_a_repeat_missing_is_no_candidate(tmp_path: Path) -> None:
    (frontier,) = grid_run(tmp_path / "run", {"s4": [20, 20, 20], "s8": [10, 10], "s16": []}).found[FRONTIERS]
    assert [(cell.repeats, cell.complete, cell.pareto) for cell in frontier.cells] == [
        (3, True, LATENCIES),
        (2, False, None),
        (0, False, None),
    ]
    assert frontier.cells[2].output_token_throughput is None and frontier.cells[2].batch_hit_ratio is None
    assert frontier.winner is not None and frontier.winner.cell == "s4"


def test_two_cells_of_the_same_figures_are_both_on_the_frontier(tmp_path: Path) -> None:
    (frontier,) = grid_run(tmp_path / "run", {"s4": [10], "s8": [10]}, repeats=1).found[FRONTIERS]
    assert [cell.pareto for cell in frontier.cells] == [LATENCIES, LATENCIES]
    assert with_pareto(frontier.cells) == frontier.cells


def test_without_a_grid_there_is_no_frontier(summary: Summary) -> None:
    assert summary.found[FRONTIERS] == ()
    assert frontier_blocks(summary, Words("en")) == []


@pytest.mark.parametrize("values", [(), (3.0,), (1.0, 3.0), tuple(range(40))])
def test_estimate(values: tuple[float, ...]) -> None:
    found = Estimate.of(values)
    if not values:
        assert found is None
    elif len(values) == 1:
        assert found == Estimate(3.0, None, 1)
    elif len(values) == 2:
        assert found is not None and found.half_width == pytest.approx(12.706)  # t x sqrt(2) / sqrt(2)
    else:
        assert found is not None and found.half_width == pytest.approx(2.042 * 11.6905 / 40**0.5, rel=1e-4)


@pytest.mark.parametrize("language", LANGUAGES)
def test_report(tmp_path: Path, language: Language) -> None:
    summary = grid_run(tmp_path / "run", {"s4": [20, 20, 20], "s8": [10, 10, 8]})
    blocks = frontier_blocks(summary, Words(language))
    tables = [block for block in blocks if isinstance(block, Table)]
    assert len(tables) == 2 and all(len(row) == len(table.header) for table in tables for row in table.rows)
    assert tables[0].rows[1][2] == "108 ± 35.9"
    assert any(isinstance(block, Paragraph) and "s8" in block.text and "117%" in block.text.replace("116.7%", "117%") for block in blocks)
    (code,) = [block for block in blocks if isinstance(block, Code)]
    assert "max_queue_delay_microseconds: 700" in code.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_of_many_deployments_is_compact(tmp_path: Path, language: Language) -> None:
    """12 deployments: one key table, the details folded, each reason and finding once, figures of a run of each cell."""
    summary = grid_run(tmp_path / "run", {"s4": [20, 20, 20], "s8": [10, 10, 10], "s16": [30, 30, 30], "s32": [40, 41, 40]})
    words = Words(language)
    content = document(summary, words, ("timeline-s8-r1-fp16", "timeline-s4-r1-fp16"))
    sections = {section.title: section for section in content.sections}
    folded = {title for title, section in sections.items() if section.folded}
    assert {words(f"section.{name}") for name in ("latency", "throughput", "outcomes", "client")} <= folded
    assert words("section.frontier") not in folded and words("section.metrics") not in folded
    tables = [block for block in sections[words("section.metrics")].blocks if isinstance(block, Table)]
    assert [len(table.rows) for table in tables] == [12]
    titles = list(sections)
    assert titles.index(words("section.frontier")) < titles.index(words("section.metrics")) < titles.index(words("section.latency"))
    assert len(content.reasons) == len({reason.code for reason in summary.verdict.reasons})
    assert [result.name for result in shown(summary)] == ["s8-r1-fp16", "s4-r1-fp16", "s16-r1-fp16", "s32-r1-fp16"]
    leads, winners, *_ = sections[words("section.conclusion")].blocks  # what the grid was run for
    assert isinstance(leads, Paragraph) and leads.text == words("conclusion.winner")
    assert isinstance(winners, Bullets) and len(winners.items) == 1 and "s8" in winners.items[0]
    assert content.reasons[0].count("-fp16") == 6 and "…" in content.reasons[0]  # of 12, the first and five more
    assert len(sections[words("section.findings")].blocks) <= max(1, len({finding.code for finding in summary.findings}))


def test_what_repeats_itself_is_said_once() -> None:
    reasons = [Reason("a", "suspect", f"d{i}") for i in range(3)] + [Reason("b", "note")]
    assert [len(group) for group in groups_of(reasons, many=True)] == [3, 1]
    assert [len(group) for group in groups_of(reasons, many=False)] == [1, 1, 1, 1]


def test_no_axis_of_the_figure_goes_below_zero(tmp_path: Path) -> None:
    """Two rounds: an interval of 12.7 standard errors."""
    (frontier,) = grid_run(tmp_path / "run", {"s4": [20, 80], "s8": [10, 60]}, repeats=2).found[FRONTIERS]
    axes = Canvas().subplots()
    paint_frontier(axes, frontier, "ttft_ns", ("#000000", "#111111"), "#222222")
    assert axes.get_xlim()[0] == axes.get_ylim()[0] == 0


def test_a_grid_of_two_axes_is_painted(tmp_path: Path) -> None:
    summary = grid_run(tmp_path / "run", {"s4": [20, 20], "s8": [10, 10]}, repeats=2, more={"max_queue_delay_us": [0, 700]})
    drawings = draw(summary, Words("zh"))
    assert "heat-fp16-c1-max_queue_delay_us-max_sequences" in drawings and "frontier" in drawings
    blocks = frontier_blocks(summary, Words("zh"), tuple(drawings))
    assert any(isinstance(block, Figure) and block.name.startswith("heat-") for block in blocks)
    (heat,) = [block for block in blocks if isinstance(block, Table) and block.header[0].startswith("max_queue")]
    assert heat.folded and heat.rows[0][2] == "100 / 100 ms ★"
