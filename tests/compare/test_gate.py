"""Conditions of --fail-on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.analysis.named_figures import named_figures
from trtbench.compare.gate import read_gate
from trtbench.errors import UserError


@pytest.mark.parametrize(
    ("text", "metric", "above", "kind", "limit", "where"),
    [
        ("ttft.p99>+5%", "ttft.p99", True, "change", 0.05, ("", "")),
        ("output_token_throughput<-3%", "output_token_throughput", False, "change", -0.03, ("", "")),
        ("error_ratio>0.1%", "error_ratio", True, "own", 0.001, ("", "")),
        ("error_ratio > +0.2pp", "error_ratio", True, "amount", 0.002, ("", "")),
        ("ttft.p99>500ms", "ttft.p99", True, "own", 500e6, ("", "")),
        ("ttft.p99.9>+1.5s", "ttft.p99_9", True, "amount", 1.5e9, ("", "")),
        ("goodput_ratio<99%", "goodput_ratio", False, "own", 0.99, ("", "")),
        ("output_token_throughput<900tokens/s", "output_token_throughput", False, "own", 900, ("", "")),
        ("c8:ttft.p99>+5%", "ttft.p99", True, "change", 0.05, ("", "c8")),
        ("default-int8/poisson-2.5:ttft.p99>+5%", "ttft.p99", True, "change", 0.05, ("default-int8", "poisson-2.5")),
        ("default-int8/tpot.mean>+0%", "tpot.mean", True, "change", 0.0, ("default-int8", "")),
    ],
)
def test_a_condition_is_read(text: str, metric: str, above: bool, kind: str, limit: float, where: tuple[str, str]) -> None:
    gate = read_gate(text)
    assert (gate.metric.name, gate.above, gate.kind, gate.limit) == (metric, above, kind, pytest.approx(limit))
    assert (gate.deployment, gate.stage) == where


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ttft.p99", "write METRIC>"),
        ("ttft.p99>", "write METRIC>"),
        ("ttft.p99>=5%", "write METRIC>"),
        ("tftt.p99>+5%", "did you mean ttft.p99"),
        ("ttft>+5%", "did you mean ttft.p99"),
        ("ttft.p99>5%", r"write \+5% or -5%"),
        ("ttft.p99>-5%", r"write ttft.p99>\+5%"),
        ("ttft.p99<+5%", "write ttft.p99<-5%"),
        ("error_ratio>+0.1%", "percentage points"),
        ("ttft.p99>500", "has the unit ms"),
        ("ttft.p99>5tokens/s", "not tokens/s"),
        ("ttft.p99>1e99%", "not e99%"),
    ],
)
def test_what_is_no_condition_is_refused_with_the_remedy(text: str, said: str) -> None:
    with pytest.raises(UserError, match=said):
        read_gate(text)


@given(st.text(max_size=40))
def test_any_text_is_a_condition_or_an_error_of_one_line(text: str) -> None:
    try:
        read_gate(text)
    except UserError as error:
        assert "\n" not in str(error)
        assert str(error).startswith("--fail-on ")


def test_every_metric_has_one_name_and_can_be_in_a_condition() -> None:
    assert len(named_figures()) > 100
    for name, metric in named_figures().items():
        assert metric.name == name
        unit = {"ms": "ms", "ratio": "%"}.get(metric.unit, metric.unit)
        if metric.unit in ("ms", "ratio", "tokens/s", "requests/s"):
            assert read_gate(f"{name}>1{unit}").metric == metric
