from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from trtbench.plan.draw import draw_plan
from trtbench.plan.plan import Phase, Plan
from trtbench.plan.sources.prompt_source import UniformPrompts
from trtbench.scenario.reading import parse_scenario

ROWS = [
    {"timestamp": 0, "input_length": 1300, "output_length": 5, "hash_ids": [7, 8, 9]},
    {"timestamp": 100, "input_length": 1030, "output_length": 6, "hash_ids": [7, 8, 10]},
    {"timestamp": 100, "input_length": 600, "output_length": 7, "hash_ids": [11, 9]},
    {"timestamp": 2000, "input_length": 40, "output_length": 8},
    {"timestamp": 3000, "input_ids": [1, 2, 3], "output_length": 9},
]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    path = tmp_path / "trace.jsonl"
    path.write_text("\n".join(map(json.dumps, ROWS)))
    return path


def plan(path: Path, seeds: dict[str, int] | None = None, **stage: Any) -> Plan:
    tree = {"name": "x", "load": [{"mode": "trace", "trace": str(path)} | stage], "seeds": seeds or {}}
    return draw_plan(parse_scenario(tree, "test"), UniformPrompts(50_000))


def ids(phase: Phase) -> list[list[int]]:
    return [prompt.input_ids.tolist() for prompt in phase.prompts]


def test_a_trace_gives_times_and_lengths(trace: Path) -> None:
    phase = plan(trace, speed=2).stages[0].measured
    assert phase.due_offsets_ns is not None
    assert phase.due_offsets_ns.tolist() == [0, 50_000_000, 50_000_000, 1_000_000_000, 1_500_000_000]
    assert [len(prompt.input_ids) for prompt in phase.prompts] == [1300, 1030, 600, 40, 3]
    assert [prompt.output_tokens for prompt in phase.prompts] == [5, 6, 7, 8, 9]
    assert (phase.requests, phase.planned, ids(phase)[4]) == (5, 5, [1, 2, 3])


def test_equal_hash_ids_are_equal_tokens(trace: Path) -> None:
    first, second, third, *_ = ids(plan(trace).stages[0].measured)
    assert first[:1024] == second[:1024]
    assert first[1024:1030] != second[1024:1030]
    assert third[512:600] == first[1024:1112]  # the partial block begins like the longer one
    assert third[:512] != first[:512]


def test_blocks_do_not_depend_on_what_else_is_replayed(trace: Path) -> None:
    whole, cut = plan(trace).stages[0].measured, plan(trace, requests=2).stages[0].measured
    assert ids(cut) == ids(whole)[:2]
    assert len(plan(trace, duration_s=1).stages[0].measured.prompts) == 3


def test_the_warmup_and_other_seeds_have_other_tokens(trace: Path) -> None:
    stage = plan(trace, warmup_requests=2).stages[0]
    assert [len(one) for one in ids(stage.warmup)] == [1300, 1030]
    assert stage.warmup.due_offsets_ns is not None and stage.warmup.due_offsets_ns.tolist() == [0, 100_000_000]
    assert stage.warmup.first_prompt == 5
    assert ids(stage.warmup)[0][:512] != ids(stage.measured)[0][:512]
    assert ids(plan(trace, seeds={"prompts": 9}).stages[0].measured)[0] != ids(stage.measured)[0]


def test_the_hash_of_the_plan_covers_the_trace(trace: Path, tmp_path: Path) -> None:
    before = plan(trace)
    before.save(tmp_path / "plan.jsonl")
    trace.write_text(trace.read_text().replace("2000", "2001"))
    assert plan(trace).sha256 != before.sha256
    trace.unlink()
    assert Plan.load(tmp_path / "plan.jsonl").sha256 == before.sha256  # years later
