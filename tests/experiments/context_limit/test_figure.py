from __future__ import annotations

from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from tests.support.having import having
from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.summary import Summary
from trtbench.experiments.context_limit.context_limits import CONTEXT_LIMITS, ContextLimits, Growth, Limit
from trtbench.experiments.context_limit.figure import paint_limit
from trtbench.experiments.context_limit.report import limit_blocks
from trtbench.experiments.context_limit.trials import TrialResult
from trtbench.experiments.precision.comparison import COMPARISONS
from trtbench.report.figures.plots import draw
from trtbench.report.kit.blocks import Figure as FigureBlock
from trtbench.report.kit.blocks import Table
from trtbench.report.kit.words import LANGUAGES, Words
from trtbench.scenario.parts.choices import Language

COLOURS = tuple(f"#00000{number}" for number in range(8))
MS, GIB = 1_000_000, float(2**30)


def trial(users: int, tokens: int, **changes: object) -> TrialResult:
    facts = TrialResult(users, tokens, "search", True, None, "", tokens * MS, tokens / 32, GIB, None, None, None, takes_most=True)
    return replace(facts, **changes)  # type: ignore[arg-type]


FAILED = trial(1, 768, passed=False, failure="kv_exhausted", ttft_ns=None)
EXTREME = trial(1, 10_000, passed=False, failure="length_rule", ttft_ns=None, phase="extreme")
TRIALS = (*(trial(1, n) for n in (64, 128, 256, 512, 736)), FAILED, *(trial(2, n) for n in (64, 512, 736)), EXTREME)
LIMITS = ContextLimits(
    *("done", 8, 32, 760, "kv_budget"),
    limits=(Limit(1, 736, 768, "kv_exhausted", "", 6, 0, 760),),
    trials=TRIALS,
    ttft_order=1.0,
    growths=(
        Growth(1, "ttft_ns", "power", 5, 64, 736, float(MS), 1.0, 1.0),
        Growth(1, "kv_used_blocks_peak", "line", 5, 64, 736, 1.0, 1 / 32, 0.999),
        Growth(1, "server_rss_bytes_peak", "line", 5, 64, 736, GIB, 23_040.0, None),
    ),
)


@pytest.fixture
def searched(summary: Summary) -> DeploymentResult:
    return replace(having(summary.deployments[0], {CONTEXT_LIMITS: LIMITS}), stages=())


def painted(searched: DeploymentResult, limits: ContextLimits = LIMITS, language: Language = "en") -> tuple[Figure, list[str]]:
    figure = Figure()
    assert paint_limit(figure, searched, limits, Words(language), COLOURS, "#000000")
    return figure, [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("language", LANGUAGES)
def test_costs_limits_theory_and_failures_are_shown(searched: DeploymentResult, language: Language) -> None:
    figure, labels = painted(searched, language=language)
    words = Words(language)
    assert len(figure.axes) == 3, "GPU memory was not sampled"
    assert {words("legend.at_once", users=1), words("legend.at_once", users=2), words("legend.found")} <= set(labels)
    assert words("legend.predicted", tokens=760) in labels
    assert words("legend.fit", users=1, order="1.00") in labels
    assert {words("failure.kv_exhausted"), words("failure.length_rule")} <= set(labels)


def test_marks_and_bands_are_where_they_were_found(searched: DeploymentResult) -> None:
    top = painted(searched)[0].axes[0]
    by_label = {str(line.get_label()): line for line in top.lines}
    assert list(by_label["refused by a rule of length"].get_xdata()) == [10_000]
    assert list(by_label["predicted: 760 tokens"].get_xdata()) == [760, 760]
    assert list(by_label["2 simultaneous"].get_xdata()) == [64, 512, 736]
    (band,) = [patch for patch in top.patches if patch.get_label() == "limit found"]
    assert (band.get_extents().width > 0) and top.get_xscale() == top.get_yscale() == "log"


def test_a_narrow_search_is_linear_and_memory_that_was_left_is_hollow(searched: DeploymentResult) -> None:
    limits = replace(LIMITS, trials=(trial(1, 512), trial(1, 500, takes_most=False), trial(1, 600)), limits=(), growths=())
    figure, _ = painted(searched, limits)
    assert {axes.get_xscale() for axes in figure.axes} == {"linear"}
    faces = {float(line.get_xdata()[0]): line.get_markerfacecolor() for line in figure.axes[2].lines if line.get_marker() == "o"}
    assert faces[500.0] == "none" and faces[512.0] != "none"


def test_nothing_to_draw_where_nothing_passed(searched: DeploymentResult) -> None:
    assert not paint_limit(Figure(), searched, replace(LIMITS, trials=(FAILED,), growths=()), Words("en"), COLOURS, "#000000")


def test_the_report_has_figure_and_laws(summary: Summary, searched: DeploymentResult) -> None:
    summary = replace(having(summary, {COMPARISONS: ()}), deployments=(searched,))
    drawings = tuple(draw(summary, Words("en")))
    assert drawings == (f"limit-{searched.name}",)
    figure, *_, laws, _ = limit_blocks(summary, Words("en"), drawings)
    assert isinstance(figure, FigureBlock) and isinstance(laws, Table)
    assert laws.rows == (
        ("1", "TTFT", "5", "~ length^1.00", "100%"),
        ("1", "Peak KV blocks", "5", "1.00 + length / 32.0", "99.9%"),
        ("1", "Server memory", "5", "1.00 GiB + 22.5 KiB per token", "-"),
    )
