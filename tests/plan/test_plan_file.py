from __future__ import annotations

import json
from pathlib import Path

import pytest

from trtbench.plan.draw import draw_plan
from trtbench.plan.plan import Plan
from trtbench.plan.plan_file import PlanError, load_plan, save_plan
from trtbench.plan.sources.prompt_source import UniformPrompts
from trtbench.scenario.reading import parse_scenario


@pytest.fixture
def plan() -> Plan:
    stages = [
        {"concurrency": 2, "requests": 4, "warmup_requests": 2},
        {"concurrency": 2, "duration_s": 1, "name": "by-time"},
        {"mode": "poisson", "rate": 20, "requests": 5, "warmup_requests": 1},
    ]
    workload = {"input_tokens": {"min": 2, "max": 6}, "distinct_prompts": 3}
    return draw_plan(parse_scenario({"name": "x", "load": stages, "workload": workload}, "test"), UniformPrompts(50_000))


def test_a_saved_plan_reads_back_the_same(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "plan.jsonl"
    save_plan(plan, path)
    again = load_plan(path)
    assert again.sha256 == plan.sha256
    assert [part.stage for part in again.stages] == [part.stage for part in plan.stages]
    for ours, theirs in zip(plan.stages, again.stages, strict=True):
        for phase, other in ((ours.measured, theirs.measured), (ours.warmup, theirs.warmup)):
            assert (phase.requests, phase.planned, phase.first_prompt) == (other.requests, other.planned, other.first_prompt)
            assert [prompt.input_ids.tolist() for prompt in phase.prompts] == [prompt.input_ids.tolist() for prompt in other.prompts]


def test_every_prompt_has_its_line(plan: Plan, tmp_path: Path) -> None:
    save_plan(plan, tmp_path / "plan.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "plan.jsonl").read_text().splitlines()]
    numbers = [row["prompt"] for row in rows if row.get("prompt") is not None and row["stage"] == "c2"]
    assert numbers == [0, 1, 2, 3, 4, 5]


def test_one_changed_token_is_noticed(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "plan.jsonl"
    save_plan(plan, path)
    rows = path.read_text().splitlines()
    row = json.loads(rows[-1])
    row["input_ids"][0] ^= 1
    path.write_text("\n".join([*rows[:-1], json.dumps(row)]) + "\n")
    with pytest.raises(PlanError, match="was changed"):
        load_plan(path)


@pytest.mark.parametrize("text", ["", "[1]\n", "{}\n", "not json\n", '{"plan_sha256": "0"}\n{"stage": "c1", "asked": 3}\n'])
def test_what_is_no_plan_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "plan.jsonl").write_text(text)
    with pytest.raises(PlanError):
        load_plan(tmp_path / "plan.jsonl")


def test_a_torn_plan_is_refused(plan: Plan, tmp_path: Path) -> None:
    path = tmp_path / "plan.jsonl"
    save_plan(plan, path)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(PlanError):
        load_plan(path)


def test_no_plan_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PlanError):
        load_plan(tmp_path / "plan.jsonl")
