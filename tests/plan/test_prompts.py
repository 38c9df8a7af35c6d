from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.events import plain
from tests.support.fakes.word_prompts import FakeWordPrompts, words
from trtbench.plan.draw import draw_plan
from trtbench.plan.plan import Phase, Plan, PlannedPrompt
from trtbench.plan.plan_file import load_plan, save_plan
from trtbench.plan.prompts import with_duplicates
from trtbench.plan.sources.prompt_source import UniformPrompts
from trtbench.scenario.reading import parse_scenario

LEVELS = {"d": {"dynamic_batching": {"priority_levels": 3, "default_priority_level": 3}}}
FULL: dict[str, Any] = {
    "input_tokens": {"min": 3, "max": 30},
    "output_tokens": {"median": 10, "sigma": 0.5, "max": 60},
    "cancel": {"ratio": 0.3, "after_tokens": {"min": 1, "max": 8}},
    "priorities": {1: 1, 3: 3},
    "mix": {
        "chat": {"weight": 3, "sessions": {"turns": {"min": 1, "max": 5}, "think_s": {"mean": 2, "distribution": "exponential"}}},
        "rag": {"prefix": {"groups": 3, "tokens": 20, "share_ratio": 0.5}, "cancel": {"ratio": 0.5, "after_s": 1.5}},
    },
}


def drawn(workload: dict[str, Any], requests: int = 100, warmup: int = 0, seeds: dict[str, int] | None = None, source: Any = None) -> Plan:
    stage = {"concurrency": 2, "requests": requests, "warmup_requests": warmup}
    tree = {"name": "x", "load": [stage], "workload": workload, "seeds": seeds or {}, "deployments": LEVELS}
    return draw_plan(parse_scenario(tree, "test"), source or UniformPrompts(10_000))


def phase(workload: dict[str, Any], requests: int = 100, **more: Any) -> Phase:
    return drawn(workload, requests, **more).stages[0].measured


def fields(prompt: PlannedPrompt) -> dict[str, Any]:
    return {name: getattr(prompt, name) for name in PlannedPrompt.__dataclass_fields__} | {"input_ids": prompt.input_ids.tolist()}


@given(few=st.integers(1, 40), more=st.integers(0, 40), seed=st.integers(0, 100))
@settings(max_examples=25)
def test_more_requests_begin_like_fewer(few: int, more: int, seed: int) -> None:
    seeds = dict.fromkeys(("lengths", "prompts", "sampling", "arrivals"), seed)
    short, long = (phase(FULL, requests=count, seeds=seeds).prompts for count in (few, few + more))
    assert len(short) == few
    assert [fields(prompt) for prompt in long[:few]] == [fields(prompt) for prompt in short]


def test_a_plan_with_everything_reads_back_the_same(tmp_path: Path) -> None:
    plan = drawn(FULL, warmup=10)
    save_plan(plan, tmp_path / "plan.jsonl")
    again = load_plan(tmp_path / "plan.jsonl")
    assert again.sha256 == plan.sha256
    for ours, theirs in ((plan.stages[0].measured, again.stages[0].measured), (plan.stages[0].warmup, again.stages[0].warmup)):
        assert [fields(prompt) for prompt in theirs.prompts] == [fields(prompt) for prompt in ours.prompts]
        assert theirs.units == ours.units


SEEDS_CHANGE = {
    "arrivals": {"think_ns"},
    "lengths": {"output_tokens", "priority", "cancel_after_tokens", "cancel_after_ns", "mix", "session", "turn", "input_ids", "think_ns"},
    "prompts": {"input_ids"},
    "sampling": {"seed"},
}


@pytest.mark.parametrize("dimension", SEEDS_CHANGE)
def test_a_seed_changes_its_own_dimension_only(dimension: str) -> None:
    before, after = ([fields(p) for p in phase(FULL, seeds=seeds).prompts] for seeds in ({}, {dimension: 99}))
    if dimension == "prompts":  # which request has a prefix is drawn by it, and a prefix adds to the length
        assert [row["output_tokens"] for row in before] == [row["output_tokens"] for row in after]
    assert {name for name in before[0] if [row[name] for row in before] != [row[name] for row in after]} == SEEDS_CHANGE[dimension]


@pytest.mark.parametrize(
    "added",
    [
        {"prefix": {"groups": 3, "tokens": 20, "share_ratio": 0.5}},
        {"priorities": {1: 1, 2: 1}},
        {"cancel": {"ratio": 0.5, "after_s": {"mean": 1, "distribution": "exponential"}}},
        {"duplicate_ratio": 0.4},
        {"sessions": {"turns": 1}},
    ],
)
def test_what_is_added_leaves_the_rest_as_it_was(added: dict[str, Any]) -> None:
    plain = {"input_tokens": {"min": 3, "max": 30}, "output_tokens": {"min": 1, "max": 9}}
    before, after = (phase(workload).prompts for workload in (plain, plain | added))
    kept = [(was, now) for was, now in zip(before, after, strict=True) if now.seed == was.seed]
    assert len(kept) == (60 if "duplicate_ratio" in added else 100)
    for was, now in kept:
        assert now.output_tokens == was.output_tokens
        assert now.input_ids[-len(was.input_ids) :].tolist() == was.input_ids.tolist()


def test_components_come_by_their_weights_with_their_own_lengths() -> None:
    mix = {"short": {"weight": 3, "input_tokens": {"min": 1, "max": 9}}, "long": {"input_tokens": 200, "output_tokens": 7}}
    prompts = phase({"mix": mix}, requests=2000).prompts
    counts = Counter(prompt.mix for prompt in prompts)
    assert counts["short"] == pytest.approx(1500, abs=4 * (2000 * 0.75 * 0.25) ** 0.5)
    for prompt in prompts:
        assert (len(prompt.input_ids) == 200) == (prompt.mix == "long")
        assert prompt.output_tokens == (7 if prompt.mix == "long" else 32)


def test_adding_a_component_leaves_the_requests_of_the_others() -> None:
    """Their order among the others changes, the i-th of a component is the same."""
    one = {"a": {"input_tokens": {"min": 5, "max": 50}}}
    alone = phase({"mix": one}).prompts
    beside = [prompt for prompt in phase({"mix": one | {"b": {}}}).prompts if prompt.mix == "a"]
    assert [prompt.input_ids.tolist() for prompt in beside] == [prompt.input_ids.tolist() for prompt in alone[: len(beside)]]


def test_prefixes_are_before_the_own_tokens_and_shared_with_the_warm_up() -> None:
    plan = drawn({"input_tokens": 8, "prefix": {"groups": 3, "tokens": 20, "share_ratio": 0.5}}, requests=200, warmup=50)
    stage = plan.stages[0]
    begins = [
        Counter(tuple(p.input_ids[:20].tolist()) for p in part.prompts if len(p.input_ids) == 28) for part in (stage.measured, stage.warmup)
    ]
    assert set(begins[0]) == set(begins[1]) and len(begins[0]) == 3
    assert {len(prompt.input_ids) for prompt in stage.measured.prompts} == {8, 28}
    own = [tuple(prompt.input_ids[-8:].tolist()) for part in (stage.measured, stage.warmup) for prompt in part.prompts]
    assert len(set(own)) == 250


def test_sessions_are_units_of_their_turns() -> None:
    sessions = {"turns": {"min": 2, "max": 4}, "think_s": 1.5}
    part = phase({"input_tokens": 6, "prefix": {"tokens": 10}, "sessions": sessions}, requests=201)
    assert len(part.prompts) == 201
    assert Counter(map(len, part.units[:-1])).keys() == {2, 3, 4}
    assert 1 <= len(part.units[-1]) <= 4  # cut short
    for number, unit in enumerate(part.units):
        turns = [part.prompts[at] for at in unit]
        assert [prompt.turn for prompt in turns] == list(range(len(unit)))
        assert {prompt.session for prompt in turns} == {number}
        assert [prompt.think_ns for prompt in turns] == [0] + [1_500_000_000] * (len(unit) - 1)
        assert [len(prompt.input_ids) for prompt in turns] == [16] + [6] * (len(unit) - 1)


def test_an_open_loop_has_one_arrival_a_session() -> None:
    workload = {"input_tokens": 4, "sessions": {"turns": 3}}
    for stage, units, requests in (
        ({"mode": "constant", "rate": 10, "requests": 31}, 11, 31),
        ({"mode": "constant", "rate": 10, "duration_s": 2}, 20, 60),
        ({"mode": "constant", "rate": 10, "duration_s": 2, "requests": 31}, 11, 31),
        ({"mode": "constant", "rate": 10, "duration_s": 0.5, "requests": 31}, 5, 15),
    ):
        part = draw_plan(parse_scenario({"name": "x", "load": [stage], "workload": workload}, "x"), UniformPrompts(1000)).stages[0].measured
        assert part.due_offsets_ns is not None
        assert (len(part.due_offsets_ns), part.requests) == (units, requests)


def test_cancellations_have_their_share_and_their_way() -> None:
    prompts = phase({"cancel": {"ratio": 0.3, "after_tokens": {"min": 2, "max": 5}}}, requests=2000).prompts
    after = Counter(prompt.cancel_after_tokens for prompt in prompts)
    assert set(after) == {None, 2, 3, 4, 5}
    assert after[None] == pytest.approx(1400, abs=4 * (2000 * 0.3 * 0.7) ** 0.5)
    assert all(prompt.cancel_after_ns is None for prompt in prompts)
    timed = phase({"cancel": {"ratio": 1, "after_s": {"mean": 2, "distribution": "exponential"}}}, requests=2000).prompts
    waits = np.array([prompt.cancel_after_ns for prompt in timed])
    assert waits.mean() == pytest.approx(2e9, rel=0.1) and waits.std() == pytest.approx(2e9, rel=0.15)
    assert all(prompt.cancel_after_tokens is None for prompt in timed)


def test_priorities_have_their_shares() -> None:
    counts = Counter(prompt.priority for prompt in phase({"priorities": {1: 1, 3: 3}}, requests=2000).prompts)
    assert set(counts) == {1, 3}
    assert counts[1] == pytest.approx(500, abs=4 * (2000 * 0.25 * 0.75) ** 0.5)


@given(st.integers(1, 300), st.floats(0, 0.99), st.integers(0, 2**32))
def test_duplicates_are_their_share_of_any_first_n(count: int, ratio: float, seed: int) -> None:
    prompts = [PlannedPrompt(np.array([number], np.int32), number + 1, seed=number) for number in range(count)]
    made = with_duplicates(prompts, ratio, np.random.default_rng(seed))
    met: set[int] = set()
    duplicates = 0
    for number, (was, now) in enumerate(zip(prompts, made, strict=True)):
        key = int(now.input_ids[0])
        assert (now.output_tokens, now.seed) == (key + 1, key)
        duplicates += key in met
        assert key in met or now is was
        met.add(key)
        assert abs(duplicates - ratio * (number + 1)) < 1 + 1e-9


def test_a_dataset_gives_prompts_and_lengths(tmp_path: Path) -> None:
    rows = [{"prompt": words(5 + row, first=10 * row), "output_tokens": 50 + row} if row % 2 else {"prompt": words(5)} for row in range(10)]
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, rows)))
    part = phase({"dataset": str(tmp_path / "d.jsonl"), "output_tokens": 7}, requests=20, source=FakeWordPrompts())
    assert Counter(prompt.output_tokens for prompt in part.prompts) == {7: 10} | {50 + row: 2 for row in range(1, 10, 2)}
    assert all(len(prompt.input_ids) == (5 if prompt.output_tokens == 7 else prompt.output_tokens - 45) for prompt in part.prompts)


def test_a_datasets_conversations_are_sessions(tmp_path: Path) -> None:
    talk = [{"from": who, "value": words(size)} for who, size in (("human", 3), ("gpt", 4), ("human", 2), ("gpt", 6))]
    (tmp_path / "d.json").write_text(json.dumps([{"conversations": talk}]))
    part = phase({"dataset": str(tmp_path / "d.json"), "sessions": {"think_s": 1}}, requests=5, source=FakeWordPrompts())
    assert part.units == (range(2), range(2, 4), range(4, 5))
    assert [(len(p.input_ids), p.output_tokens, p.think_ns) for p in part.prompts[:2]] == [(3, 4, 0), (2, 6, 10**9)]


def test_rows_that_a_dataset_lost_are_reported(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"prompt": "w1 w2"}\n{"prompt": ""}\n')
    plan = drawn({"dataset": str(tmp_path / "d.jsonl")}, source=FakeWordPrompts())
    read, told = plain(plan.facts())[1]["notes"]
    assert read == f"{tmp_path / 'd.jsonl'}: format prompts"
    assert "1 of 2 rows were left out: 1: prompt is empty" in told
    assert plain(plan.facts())[1]["inputs"] == [
        {
            "path": str(tmp_path / "d.jsonl"),
            "rows": 2,
            "left_out": 1,
            "reasons": [{"reason": "prompt is empty", "rows": 1, "first": [f"{tmp_path / 'd.jsonl'}:2"]}],
            "formats": ["prompts"],
        }
    ]
    assert (drawn({}).notes, drawn({}).facts().inputs) == ((), [])


def test_lengths_next_to_a_dataset_are_noted_as_unused(tmp_path: Path) -> None:
    (tmp_path / "d.jsonl").write_text('{"prompt": "w1 w2"}\n')
    plan = drawn({"dataset": str(tmp_path / "d.jsonl"), "input_tokens": 2000}, source=FakeWordPrompts())
    assert "workload.input_tokens is not used" in plan.notes[0]


def test_extreme_prompts_are_exact() -> None:
    lengths = {"values": [100_000, 1_000_000], "weights": [9, 1]}
    assert {len(prompt.input_ids) for prompt in phase({"input_tokens": lengths}, requests=10).prompts} <= {100_000, 1_000_000}
