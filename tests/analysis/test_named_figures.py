"""A figure is named as docs/metrics.md names it, in repeats, gates and comparisons alike."""

from __future__ import annotations

import pytest

from trtbench.analysis.named_figures import figure_named, named_figures
from trtbench.analysis.summary import Summary
from trtbench.errors import UserError


def test_a_figure_is_the_number_of_the_stage(summary: Summary) -> None:
    stage = summary.deployments[0].stages[0]
    expected = {
        "ttft.p50": stage.latency.ttft_ns.p50,
        "e2e_latency.mean": stage.latency.e2e_latency_ns.mean,
        "request_throughput": stage.throughput.request_throughput,
        "goodput_ratio": stage.throughput.goodput_ratio,
        "error_ratio": stage.conservation.error_ratio,
        "kv_used_ratio.used_ratio_peak": stage.kv_cache and stage.kv_cache.used_ratio_peak,
    }
    assert {name: figure_named(name, "key").value(stage) for name in expected} == expected
    assert named_figures()["ttft.p99"].unit == "ms"
    assert named_figures()["goodput_ratio"].unit == "ratio"


def test_every_figure_of_a_real_stage_is_one_number_or_missing(summary: Summary) -> None:
    for result in summary.deployments:
        for stage in result.stages:
            for figure in named_figures().values():
                value = figure.value(stage)
                assert value is None or isinstance(value, (int, float)), figure.name


def test_names_can_be_written_in_a_shell() -> None:
    assert not [name for name in named_figures() if " " in name]


@pytest.mark.parametrize(("name", "near"), [("ttft", "ttft.p99"), ("eror_ratio", "error_ratio"), ("", "did you mean")])
def test_another_name_is_an_error_with_the_nearest_ones(name: str, near: str) -> None:
    with pytest.raises(UserError, match=f"--fail-on: unknown metric .*{near}"):
        figure_named(name, "--fail-on")
