"""A plan whose requests carry tensors: saved, read back, and refused if the tensors were changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from trtbench.plan.draw import draw_plan
from trtbench.plan.inputs_file import INPUTS_FILE, save_inputs
from trtbench.plan.plan import Plan
from trtbench.plan.plan_file import PlanError, load_plan, save_plan
from trtbench.plan.sources.prompt_source import UniformPrompts
from trtbench.plan.sources.tensors.rows import TensorRows
from trtbench.plan.sources.tensors.tensor import InputRow, Tensor
from trtbench.scenario.reading import parse_scenario

ROWS = tuple(InputRow(n, (Tensor("IN", "UINT8", (1, 2), bytes([n, n])),), (Tensor("OUT", "UINT8", (1,), b"x"),)) for n in range(3))


def plan(rows: TensorRows, sessions: object = None, requests: int = 7) -> Plan:
    tree = {"name": "n", "task": "infer", "model": "m", "load": [{"concurrency": 2, "requests": requests, "warmup_requests": 2}]}
    return draw_plan(parse_scenario(tree | {"workload": {"sessions": sessions}}, "x"), UniformPrompts(2), rows)


def test_rows_are_used_in_turn_and_read_back(tmp_path: Path) -> None:
    drawn = plan(TensorRows(ROWS))
    save_plan(drawn, tmp_path / "plan.jsonl")
    read = load_plan(tmp_path / "plan.jsonl")
    assert read.inputs == ROWS and read.sha256 == drawn.sha256
    (stage,) = read.stages
    assert [prompt.tensors.number for prompt in stage.measured.prompts] == [0, 1, 2, 0, 1, 2, 0]
    assert not any(prompt.ends_session for prompt in stage.measured.prompts)


def test_changed_or_missing_tensors_are_refused(tmp_path: Path) -> None:
    save_plan(plan(TensorRows(ROWS)), tmp_path / "plan.jsonl")
    save_inputs([*ROWS[:2], InputRow(2, (Tensor("IN", "UINT8", (1, 2), b"no"),))], tmp_path / INPUTS_FILE)
    with pytest.raises(PlanError, match="was changed"):
        load_plan(tmp_path / "plan.jsonl")
    (tmp_path / INPUTS_FILE).unlink()
    with pytest.raises(PlanError, match="is not a plan"):
        load_plan(tmp_path / "plan.jsonl")


def test_the_tensors_are_in_the_hash() -> None:
    other = TensorRows((InputRow(0, (Tensor("IN", "UINT8", (1, 2), b"no"),)), *ROWS[1:]))
    assert plan(TensorRows(ROWS)).sha256 != plan(other).sha256


def test_sequences_have_a_beginning_and_an_end() -> None:
    (stage,) = plan(TensorRows(ROWS), {"turns": 3}, 8).stages
    prompts = stage.measured.prompts
    assert [prompt.turn for prompt in prompts] == [0, 1, 2, 0, 1, 2, 0, 1]
    assert [prompt.ends_session for prompt in prompts] == [False, False, True] * 2 + [False, True]
    assert [prompt.tensors.number for prompt in prompts] == [0, 1, 2, 0, 1, 2, 0, 1]


def test_sequences_of_the_data_are_kept_whole() -> None:
    rows = TensorRows(ROWS, (range(2), range(2, 3)))
    (stage,) = plan(rows, {"turns": 3}, 4).stages
    assert [(prompt.session, prompt.turn, prompt.tensors.number) for prompt in stage.measured.prompts] == [
        (0, 0, 0),
        (0, 1, 1),
        (1, 0, 2),
        (2, 0, 0),
    ]
