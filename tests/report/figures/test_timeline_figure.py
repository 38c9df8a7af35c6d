from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from matplotlib.figure import Figure

from tests.support.records import S
from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.summary import Summary
from trtbench.analysis.timeline import Curve
from trtbench.report.figures.timeline_figure import paint_timeline
from trtbench.report.kit.words import LANGUAGES, Words
from trtbench.scenario.parts.choices import Language

COLOURS = tuple(f"#00000{number}" for number in range(8))
INK = "#000000"


@pytest.fixture
def figure() -> Iterator[Figure]:
    yield Figure(figsize=(7.2, 4.4), layout="constrained")


def labels(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def changed(result: DeploymentResult, **curves: object) -> DeploymentResult:
    return replace(result, timeline=replace(result.timeline, **curves))  # type: ignore[arg-type]


@pytest.mark.parametrize("language", LANGUAGES)
def test_batch_means_over_requests_on_one_axis_of_time(summary: Summary, figure: Figure, language: Language) -> None:
    words = Words(language)
    paint_timeline(figure, summary.deployments[0], words, COLOURS, INK)
    blocks, requests = figure.axes
    assert blocks.get_xlim() == requests.get_xlim()
    assert labels(figure) == [words(f"legend.{name}") for name in ("used", "near_full", "running", "waiting")]
    (line,) = [line for line in blocks.lines if line.get_label() == words("legend.near_full")]
    assert set(line.get_ydata()) == {0.9 * 64}
    assert [text.get_text() for text in blocks.texts] == [stage.span.name for stage in summary.deployments[0].stages if _is_wide(stage)]


def _is_wide(stage: object) -> bool:
    span = stage.span  # type: ignore[attr-defined]
    return bool(span.end_ns - span.start_ns > 5 * S)


def test_further_series_of_an_engine_are_drawn(summary: Summary, figure: Figure) -> None:
    result = summary.deployments[0]
    start_ns = result.stages[0].span.start_ns
    some = Curve((start_ns, start_ns + S), (1.0, 3.0), (0.0, 1.0))
    words = Words("en")
    result = changed(result, free_blocks=some, reused_blocks=some, paused=some, cancels_ns=(start_ns + 2 * S, start_ns + 4 * S))
    paint_timeline(figure, result, words, COLOURS, INK)
    assert len(figure.axes) == 3
    assert {words(f"legend.{name}") for name in ("free", "paused", "reused", "cancelled")} <= set(labels(figure))
    (marks,) = [line for line in figure.axes[1].lines if line.get_label() == words("legend.cancelled")]
    assert list(marks.get_xdata()) == [2.0, 4.0]


def test_the_time_after_the_load_is_shown(summary: Summary, figure: Figure) -> None:
    result = summary.deployments[0]
    paint_timeline(figure, changed(result, end_ns=result.stages[-1].span.end_ns + 7 * S), Words("en"), COLOURS, INK)
    end_s = (result.stages[-1].span.end_ns - result.stages[0].span.start_ns) / S
    assert figure.axes[0].get_xlim()[1] == pytest.approx(end_s + 7)
