from __future__ import annotations

from dataclasses import replace

import pytest

from tests.support.having import having, measured
from trtbench.analysis.summary import Summary
from trtbench.experiments.precision.analysis import precision_findings
from trtbench.experiments.precision.comparison import COMPARISONS, EMBEDDINGS, OUTPUTS, Agreement, compare


@pytest.mark.parametrize(
    ("ratios", "code"),
    [((1.2, 1.4, 1.3), "precision_faster"), ((1.0, 1.04, 0.97), "precision_same"), ((0.7, 0.9, 1.2), "precision_slower")],
)
def test_speed_is_the_median_of_the_closed_loop(summary: Summary, ratios: tuple[float, ...], code: str) -> None:
    (pair,) = summary.found[COMPARISONS]
    closed = [replace(stage, output_token_throughput=ratio) for stage, ratio in zip(pair.stages[:3], ratios, strict=True)]
    open_loop = replace(pair.stages[3], output_token_throughput=99.0)
    finding = next(precision_findings(replace(pair, stages=(*closed, open_loop))))
    assert (finding.code, finding.figures["speed_factor"]) == (code, sorted(ratios)[1])
    assert finding.figures["stages"] == 3


def test_the_base_is_what_the_scenario_names_first_in_whatever_order_a_grid_served(summary: Summary) -> None:
    results = [having(result, {OUTPUTS: {}, EMBEDDINGS: {}}) for result in summary.deployments[::-1]]
    (pair,) = compare(measured(summary, results))
    assert (pair.base_dtype, pair.other_dtype) == ("fp16", "int8")


def test_speed_is_withheld_where_no_stage_is_sound(summary: Summary) -> None:
    (pair,) = summary.found[COMPARISONS]
    assert [stage.sound for stage in pair.stages] == [True, True, True, False]
    shaky = replace(pair, stages=tuple(replace(stage, sound=False) for stage in pair.stages), agreement=None)
    assert [*precision_findings(shaky)] == []


@pytest.mark.parametrize(("prompts", "prefix", "code"), [(20, 0.6, "agreement"), (20, 0.4, "agreement_low"), (19, 0.4, None)])
def test_agreement_needs_prompts(summary: Summary, prompts: int, prefix: float, code: str | None) -> None:
    pair = replace(summary.found[COMPARISONS][0], stages=(), agreement=Agreement(prompts, 0.1, prefix, 0.9))
    assert [finding.code for finding in precision_findings(pair)] == ([code] if code else [])
