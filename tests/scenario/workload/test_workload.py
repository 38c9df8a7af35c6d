from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario
from trtbench.scenario.workload.lengths import Range
from trtbench.scenario.workload.request_kind import Dataset, Prefix
from trtbench.scenario.workload.workload import Workload

PAGE = Path(__file__).parents[3] / "docs" / "workloads.md"
LEVELS = {"d": {"dynamic_batching": {"priority_levels": 2, "default_priority_level": 2}}}


def scenario(workload: dict[str, Any], **more: Any) -> Scenario:
    return parse_scenario({"name": "x", "load": [{"concurrency": 1, "requests": 1}], "workload": workload} | more, "x.yaml")


def workload(**fields: Any) -> Workload:
    return scenario(fields).workload


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"input_tokens": {"min": 0, "max": 5}}, "workload.input_tokens.min = 0: must be a"),
        ({"output_tokens": "long"}, "workload.output_tokens = 'long': write a number, {min, max}"),
        ({"prefix": {"groups": 0, "tokens": 5}}, "workload.prefix.groups = 0"),
        ({"prefix": {"groups": 2}}, "workload.prefix.tokens: is required"),
        ({"prefix": {"tokens": 5, "share_ratio": 1.5}}, "workload.prefix.share_ratio = 1.5"),
        ({"sessions": {}}, "workload: sessions.turns: give a number or a law"),
        ({"sessions": {"turns": 3}, "dataset": "a.json"}, "sessions.turns: leave it out, the dataset's conversations have their own"),
        ({"sessions": {"turns": 3, "think_s": -1}}, "workload.sessions.think_s"),
        ({"sessions": {"turns": 3}, "duplicate_ratio": 0.1}, "duplicate_ratio (0.1) and sessions exclude each other"),
        ({"mix": {"a": {"sessions": {"turns": 3}}}, "duplicate_ratio": 0.1}, "duplicate_ratio (0.1) and sessions exclude each other"),
        ({"duplicate_ratio": 1}, "workload.duplicate_ratio = 1: must be a"),
        ({"cancel": {"ratio": 0.1}}, "workload.cancel: cancel needs after_tokens or after_s, one of them"),
        ({"cancel": {"ratio": 0.1, "after_s": 1, "after_tokens": 2}}, "cancel needs after_tokens or after_s, one of them"),
        ({"cancel": {"ratio": 0, "after_s": 1}}, "workload.cancel.ratio = 0"),
        ({"priorities": {0: 1}}, "workload.priorities.0"),
        ({"priorities": {1: 0}}, "priorities: the weights add up to nothing"),
        ({"priorities": {"high": 1}}, "workload.priorities.high"),
        ({"mix": {"a": {"weight": 0}}}, "workload.mix.a.weight = 0"),
        ({"mix": {"a/b": {}}}, "workload.mix.a/b"),
        ({"mix": {"a": {"input_tokens": {"min": 4, "max": 2}}}}, "workload.mix.a.input_tokens: max (2) is below min (4)"),
        ({"mix": {"a": 5}}, "workload.mix.a = 5"),
        ({"mix": {"a": {"mix": {}}}}, "workload.mix.a.mix"),
    ],
)
def test_what_cannot_be_asked_is_named(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        scenario(fields)
    assert says in str(caught.value)
    assert "<" not in str(caught.value)  # a tag of ours


def test_priorities_need_levels_in_every_deployment() -> None:
    assert scenario({"priorities": {1: 0.2, 2: 0.8}}, deployments=LEVELS).workload.lowest_priority_level == 2
    says = r"workload\.priorities names level 3, deployments\.d\.dynamic_batching\.priority_levels is 2: raise priority_levels"
    with pytest.raises(ScenarioError, match=says):
        scenario({"mix": {"a": {"priorities": {3: 1}}}}, deployments=LEVELS)
    for deployments in ({"plain": {}}, {"none": {"dynamic_batching": None}}):
        with pytest.raises(ScenarioError, match="priority_levels is 0"):
            scenario({"priorities": {1: 1}}, deployments=LEVELS | deployments)


def test_a_component_has_what_the_workload_has_unless_it_says_otherwise() -> None:
    mixed = workload(
        input_tokens={"min": 4, "max": 9},
        prefix={"groups": 2, "tokens": 50},
        mix={"chat": {"weight": 3}, "plain": {"prefix": None, "input_tokens": 7}},
    )
    chat, plain = mixed.mix["chat"], mixed.mix["plain"]
    assert (chat.input_tokens, chat.prefix) == (Range(min=4, max=9), Prefix(groups=2, tokens=50))
    assert (plain.input_tokens, plain.prefix, plain.output_tokens) == (Range(min=7, max=7), None, Range(min=32, max=32))
    assert list(mixed.kinds) == ["chat", "plain"]
    assert mixed.kind_shares == (0.75, 0.25)
    single = workload()
    assert (dict(single.kinds), single.kind_shares) == ({"": single}, (1.0,))


def test_everything_dumped_loads_to_itself() -> None:
    full = scenario(
        {
            "input_tokens": {"median": 100, "sigma": 0.5, "max": 900},
            "output_tokens": {"values": [4, 8], "weights": [1, 3]},
            "prefix": {"groups": 2, "tokens": 50, "share_ratio": 0.5, "zipf": 1.1},
            "priorities": {1: 0.2, 2: 0.8},
            "cancel": {"ratio": 0.1, "after_tokens": {"mean": 5, "stddev": 1, "max": 9}},
            "mix": {
                "chat": {"weight": 3, "sessions": {"turns": {"min": 1, "max": 4}, "think_s": {"mean": 2, "distribution": "exponential"}}},
                "file": {"dataset": "prompts.jsonl", "prefix": None, "cancel": {"ratio": 0.5, "after_s": 1.5}},
            },
        },
        deployments=LEVELS,
    )
    assert parse_scenario(yaml.safe_load(full.dump()), "dump") == full
    assert full.workload.mix["file"].dataset == Dataset(path=Path("prompts.jsonl"))


@pytest.mark.parametrize(
    ("fields", "longest"),
    [
        ({}, 128 + 32),
        ({"input_tokens": {"mean": 50, "stddev": 9, "max": 90}, "output_tokens": {"values": [3, 70]}}, 90 + 70),
        ({"prefix": {"tokens": 500}}, 500 + 128 + 32),
        # Turn 3 reads three messages of 128 and two answers of 32, and writes 32.
        ({"sessions": {"turns": {"min": 1, "max": 3}}}, 3 * 128 + 2 * 32 + 32),
        ({"sessions": {"turns": 3}, "prefix": {"tokens": 500}}, 500 + 3 * 128 + 2 * 32 + 32),
        ({"dataset": "a.json"}, 32),  # what the file has is not known yet: dataset_bounds.py
        ({"dataset": {"path": "a.json", "input_tokens": {"min": 1, "max": 1024}, "most_tokens": 900}, "prefix": {"tokens": 50}}, 950),
        ({"dataset": {"path": "a.json", "input_tokens": {"min": 4, "max": 200}, "output_tokens": {"min": 4, "max": 10}}}, 200 + 32),
        ({"dataset": {"path": "a.json", "input_tokens": {"min": 1, "max": 1024}}, "sessions": {}, "prefix": {"tokens": 7}}, 7 + 1024 + 32),
        ({"mix": {"in": {"input_tokens": 900}, "out": {"output_tokens": 700}}}, 900 + 32),
    ],
)
def test_the_longest_request(fields: dict[str, Any], longest: int) -> None:
    assert workload(**fields).longest_request_tokens == longest


def test_the_mean_output_of_a_mix() -> None:
    assert workload(output_tokens={"min": 10, "max": 20}).expected_output_tokens == 15
    assert workload(mix={"a": {"weight": 3, "output_tokens": 10}, "b": {"output_tokens": 50}}).expected_output_tokens == 20


@pytest.mark.parametrize("block", re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
def test_what_the_page_shows_is_a_scenario(block: str) -> None:
    tree = {"name": "x", "load": [{"concurrency": 1, "requests": 1}]} | yaml.safe_load(block)
    assert parse_scenario(tree, "page").workload != Workload()
    pytest.importorskip("jsonschema").validate(tree, json.loads(json.dumps(Scenario.model_json_schema())))


def test_group_shares() -> None:
    assert Prefix(groups=4, tokens=1).group_shares == (0.25,) * 4
    assert Prefix(groups=3, tokens=1, zipf=1).group_shares == pytest.approx((6 / 11, 3 / 11, 2 / 11))
