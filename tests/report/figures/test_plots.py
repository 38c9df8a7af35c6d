from __future__ import annotations

from dataclasses import replace

import pytest

from trtbench.analysis.summary import Summary
from trtbench.report.figures import plots
from trtbench.report.kit.words import Words

pytestmark = pytest.mark.usefixtures("figures_on_demand")
NAMES = ["throughput", "latency", "distributions", "batches", "timeline-default-fp16", "timeline-default-int8"]


def test_every_figure_of_a_run_is_drawn_alike_each_time(summary: Summary) -> None:
    first, second = plots.draw(summary, Words("en")), plots.draw(summary, Words("en"))
    assert list(first) == NAMES
    assert {name: drawing.svg for name, drawing in first.items()} == {name: drawing.svg for name, drawing in second.items()}


def test_figures_without_data_are_left_out(summary: Summary) -> None:
    assert plots.draw(replace(summary, deployments=()), Words("en")) == {}
    open_loop = tuple(replace(result, stages=result.stages[3:], knee=None) for result in summary.deployments)
    assert list(plots.draw(replace(summary, deployments=open_loop), Words("en"))) == NAMES[4:]


def test_a_single_level_of_load_is_no_curve(summary: Summary) -> None:
    one = tuple(replace(result, stages=result.stages[2:3], knee=None) for result in summary.deployments)
    assert list(plots.draw(replace(summary, deployments=one), Words("en"))) == NAMES[2:]


def test_two_rates_make_a_curve_of_their_own(summary: Summary) -> None:
    def doubled(rate: float) -> object:
        stage = summary.deployments[0].stages[3]
        return replace(stage, span=replace(stage.span, asked=rate))

    result = replace(summary.deployments[0], stages=(doubled(1.0), doubled(2.0)), knee=None)  # type: ignore[arg-type]
    assert "latency_rate" in plots.draw(replace(summary, deployments=(result,)), Words("en"))


def test_without_a_cjk_font_axes_are_in_english(summary: Summary, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "_cjk_font", lambda: None)
    svg = plots.draw(summary, Words("zh"))["throughput"].svg
    assert "concurrent users" in svg and "并发数" not in svg


def test_with_a_cjk_font_axes_are_in_chinese(summary: Summary) -> None:
    if plots._cjk_font() is None:
        pytest.skip("no CJK font that matplotlib can find (Debian: apt-get install fonts-noto-cjk)")
    assert "并发数" in plots.draw(summary, Words("zh"))["throughput"].svg
