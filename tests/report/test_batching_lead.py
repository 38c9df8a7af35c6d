"""What leads the batching section, of planted batches and in both languages: one by design, together, or each alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.summary import Summary
from trtbench.report.kit.blocks import Paragraph
from trtbench.report.kit.words import LANGUAGES, Words
from trtbench.report.sections.batching_tables import batching_tables
from trtbench.rundir.traits import Traits
from trtbench.scenario.parts.choices import Language

KEYS = ("together", "one_by_design", "one_each")


def batched(summary: Summary, by_design: bool, histogram: dict[int, int]) -> Summary:
    """One deployment with one stage, whose batches are these; {}: none was counted."""
    facts = replace(summary.deployments[0].facts, traits=Traits(triton_batches_are_one=by_design))
    result: DeploymentResult = replace(summary.deployments[0], facts=facts)
    stage = result.stages[0]
    batching = stage.triton_batching
    assert batching
    inferences = sum(size * count for size, count in histogram.items())
    planted = replace(batching, histogram=histogram, inferences=inferences, executions=sum(histogram.values()))
    return replace(summary, deployments=(replace(result, stages=(replace(stage, triton_batching=planted),)),))


def said(summary: Summary, language: Language) -> dict[str, str]:
    """Key: paragraph, of those keys whose own words (up to the first figure) a paragraph of the section has."""
    words = Words(language)
    paragraphs = [block.text for block in batching_tables(summary, words) if isinstance(block, Paragraph)]
    beginnings = {key: words(f"batching.{key}", inferences="@", executions="@", together="@").split("@")[0] for key in KEYS}
    assert len(set(beginnings.values())) == len(KEYS)
    return {key: text for key, beginning in beginnings.items() for text in paragraphs if text.startswith(beginning)}


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize(
    ("by_design", "histogram", "key", "figures"),
    [
        (True, {1: 40}, "one_by_design", ("40", "40")),
        (True, {1: 40, 4: 3}, "together", ("12", "52")),
        (False, {1: 40}, "one_each", ("40", "40")),
        (False, {2: 7}, "together", ("14", "14")),
    ],
)
def test_what_the_section_leads_with(
    summary: Summary, language: Language, by_design: bool, histogram: dict[int, int], key: str, figures: tuple[str, str]
) -> None:
    (found,) = said(batched(summary, by_design, histogram), language).items()
    assert found[0] == key and all(figure in found[1] for figure in figures)


@pytest.mark.parametrize("language", LANGUAGES)
def test_nothing_is_said_of_batches_that_were_not_counted(summary: Summary, language: Language) -> None:
    assert said(batched(summary, True, {}), language) == {}
    assert Words(language)("batching.lead") in [
        block.text for block in batching_tables(batched(summary, False, {}), Words(language)) if isinstance(block, Paragraph)
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_tensorrt_llm_run_states_that_a_batch_of_one_is_by_design(summary: Summary, language: Language) -> None:
    (text,) = said(batched(summary, "tensorrt_llm", {1: 40}), language).values()
    assert "TensorRT-LLM" in text and {"en": "is always 1", "zh": "1"}[language] in text
