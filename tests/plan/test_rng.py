from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from trtbench.plan.draw import draw_plan
from trtbench.plan.plan import PlannedPrompt
from trtbench.plan.rng import draw_groups, draw_lengths, think_ns
from trtbench.plan.sources.prompt_source import UniformPrompts
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.workload.lengths import Empirical, Lognormal, Normal, Range
from trtbench.scenario.workload.request_kind import Prefix, Think
from trtbench.scenario.workload.workload import Workload, expected_hit_ratio


def test_fixed_pauses() -> None:
    assert think_ns(Think(mean=1.5), 3, np.random.default_rng(1)).tolist() == [1_500_000_000] * 3


def test_exponential_pauses() -> None:
    think = Think(mean=0.5, distribution="exponential")
    pauses_ns = think_ns(think, 50_000, np.random.default_rng(1))
    assert pauses_ns.mean() == pytest.approx(0.5e9, rel=0.02)
    assert pauses_ns.std() == pytest.approx(0.5e9, rel=0.03)
    assert np.mean(pauses_ns > 0.5e9) == pytest.approx(np.exp(-1), abs=0.01)
    assert think_ns(think, 100, np.random.default_rng(1)).tolist() == pauses_ns[:100].tolist()


@pytest.mark.parametrize("zipf", [None, 1.0, 2.5])
def test_groups_are_drawn_by_their_shares(zipf: float | None) -> None:
    prefix, count = Prefix(groups=5, tokens=1, share_ratio=0.6, zipf=zipf), 40_000
    drawn = Counter(draw_groups(prefix, count, np.random.default_rng(3)))
    shares = {None: 0.4} | {group: 0.6 * share for group, share in enumerate(prefix.group_shares)}
    for group, share in shares.items():
        assert drawn[group] / count == pytest.approx(share, abs=4 * (share * (1 - share) / count) ** 0.5)
    assert set(drawn) <= set(shares)


@given(st.integers(0, 2**32), st.integers(0, 40), st.integers(0, 40), st.integers(1, 9), st.floats(0.01, 1))
def test_longer_draws_of_groups_begin_like_shorter_ones(seed: int, few: int, more: int, groups: int, share: float) -> None:
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


DRAWN = 20_000
CRITICAL = 1.95 / math.sqrt(DRAWN)  # Kolmogorov-Smirnov at 0.1 %; of a law with steps the true level is lower still

Law = Range | Normal | Lognormal | Empirical

LAWS: list[Law] = [
    Range(min=7, max=7),
    Range(min=16, max=300),
    Normal(mean=200, stddev=50, max=400),
    Normal(mean=20, stddev=50, min=10, max=400),  # most of it cut off
    Normal(mean=2, stddev=0.5, max=3),
    Lognormal(median=300, sigma=0.9, max=8000),
    Lognormal(median=10, sigma=1.5, min=8, max=60),
    Empirical(values=(900, 10, 30), weights=(1, 0, 3)),
]


def share_up_to(law: Law, length: int) -> float:
    """The law's distribution function, each from its definition."""
    if isinstance(law, Range):
        return (length - law.min + 1) / (law.max - law.min + 1)
    if isinstance(law, Empirical):
        return sum(share for value, share in zip(law.values, law.shares, strict=True) if value <= length)
    if isinstance(law, Normal):
        low, here, high = ((edge - law.mean) / law.stddev for edge in (law.min - 0.5, length + 0.5, law.max + 0.5))
    else:
        low, here, high = (math.log(edge / law.median) / law.sigma for edge in (law.min - 0.5, length + 0.5, law.max + 0.5))
    below = [math.erf(z / math.sqrt(2)) for z in (low, here, high)]
    return (below[1] - below[0]) / (below[2] - below[0])


@pytest.mark.parametrize("law", LAWS, ids=repr)
def test_draws_follow_their_law(law: Law) -> None:
    drawn = np.array(draw_lengths(law, DRAWN, np.random.default_rng(5)))
    assert drawn.min() >= law.min and drawn.max() <= law.max
    distance = max(abs((drawn <= length).mean() - share_up_to(law, length)) for length in set(drawn.tolist()))
    assert distance < CRITICAL
    assert drawn.mean() == pytest.approx(law.expected, abs=0.5 + 4 * drawn.std() / math.sqrt(DRAWN))


@pytest.mark.parametrize("law", LAWS, ids=repr)
@given(seed=st.integers(0, 2**32), few=st.integers(0, 50), more=st.integers(0, 50))
@settings(max_examples=15)
def test_longer_draws_begin_like_shorter_ones(law: Law, seed: int, few: int, more: int) -> None:
    short, long = (draw_lengths(law, count, np.random.default_rng(seed)) for count in (few, few + more))
    assert long[:few] == short
    assert all(type(length) is int for length in long)


def test_a_weight_of_zero_is_never_drawn() -> None:
    assert set(Counter(draw_lengths(LAWS[-1], 5000, np.random.default_rng(1)))) == {900, 30}
