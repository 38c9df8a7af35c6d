from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.plan.draw import draw_plan
from trtbench.plan.draws.prefixes import draw_groups
from trtbench.plan.plan import PlannedPrompt
from trtbench.plan.sources.prompt_source import UniformPrompts
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.workload.request_kind import Prefix
from trtbench.scenario.workload.reuse import expected_hit_ratio
from trtbench.scenario.workload.workload import Workload


@pytest.mark.parametrize("zipf", [None, 1.0, 2.5])
def test_groups_are_drawn_by_their_shares(zipf: float | None) -> None:
    prefix, count = Prefix(groups=5, tokens=1, share_ratio=0.6, zipf=zipf), 40_000
    drawn = Counter(draw_groups(prefix, count, np.random.default_rng(3)))
    shares = {None: 0.4} | {group: 0.6 * share for group, share in enumerate(prefix.group_shares)}
    for group, share in shares.items():
        assert drawn[group] / count == pytest.approx(share, abs=4 * (share * (1 - share) / count) ** 0.5)
    assert set(drawn) <= set(shares)


@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(0, 40), st.integers(1, 9), st.floats(0.01, 1))
def test_longer_draws_begin_like_shorter_ones(seed: int, few: int, more: int, groups: int, share: float) -> None:
    prefix = Prefix(groups=groups, tokens=1, share_ratio=share)
    short, long = (draw_groups(prefix, count, np.random.default_rng(seed)) for count in (few, few + more))
    assert long[:few] == short
    if share == 1:
        assert None not in long


def ideal_hit_ratio(prompts: tuple[PlannedPrompt, ...]) -> float:
    """Of all input tokens, those that stand in the longest beginning which an earlier prompt had: a prefix cache that forgets nothing."""
    nodes: dict[tuple[int, int], int] = {}  # (node, token) -> node of a tree of all prompts so far
    found = 0
    for prompt in prompts:
        node, on_known = 0, True
        for token in prompt.input_ids.tolist():
            on_known = on_known and (node, token) in nodes
            found += on_known
            node = nodes.setdefault((node, token), len(nodes) + 1)
    return found / sum(len(prompt.input_ids) for prompt in prompts)


@pytest.mark.parametrize(
    "fields",
    [
        {"input_tokens": 40, "prefix": {"groups": 4, "tokens": 60}},
        {"input_tokens": {"min": 10, "max": 50}, "prefix": {"groups": 20, "tokens": 100, "share_ratio": 0.5}},
        {"input_tokens": 20, "prefix": {"groups": 300, "tokens": 50, "zipf": 1.2}},
        {"input_tokens": 20, "duplicate_ratio": 0.3},
        {"input_tokens": 20, "prefix": {"groups": 10, "tokens": 30, "share_ratio": 0.7}, "duplicate_ratio": 0.25},
        {
            "input_tokens": 30,
            "mix": {
                "chat": {"weight": 2, "prefix": {"groups": 3, "tokens": 200}},
                "rag": {"input_tokens": {"min": 50, "max": 90}, "prefix": {"groups": 8, "tokens": 20, "zipf": 1.0}},
                "plain": {},
            },
        },
    ],
)
def test_the_promised_hit_ratio_is_that_of_the_plan(fields: dict[str, Any]) -> None:
    """Measured over plans of many seeds; random ids below 10^6 share almost nothing by chance."""
    requests, seeds = 150, 12
    measured = []
    for seed in range(seeds):
        dimensions = dict.fromkeys(("lengths", "prompts"), seed)
        tree = {"name": "x", "load": [{"concurrency": 1, "requests": requests}], "workload": fields, "seeds": dimensions}
        plan = draw_plan(parse_scenario(tree, "test"), UniformPrompts(1_000_000))
        measured.append(ideal_hit_ratio(plan.stages[0].measured.prompts))
    promised = expected_hit_ratio(Workload.model_validate(fields), requests)
    assert promised == pytest.approx(np.mean(measured), abs=0.005 + 3 * np.std(measured) / seeds**0.5)


def test_a_design_by_hand() -> None:
    """100 requests of 60 + 40 tokens; one prefix, whose first use is no hit: 99 x 60 of 100 x 100."""
    assert expected_hit_ratio(Workload.model_validate({"input_tokens": 40, "prefix": {"tokens": 60}}), 100) == pytest.approx(0.594)


def test_nothing_is_promised_where_nothing_is_known() -> None:
    for fields in ({}, {"prefix": {"tokens": 5}, "dataset": "a.json"}, {"prefix": {"tokens": 5}, "sessions": {"turns": 2}}):
        assert expected_hit_ratio(Workload.model_validate(fields), 100) is None
    assert expected_hit_ratio(Workload.model_validate({"prefix": {"tokens": 5}}), 0) is None
