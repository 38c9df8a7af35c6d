from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trtbench.plan.draw import draw_plan
from trtbench.plan.plan import Phase, Plan
from trtbench.plan.plan_file import load_plan, save_plan
from trtbench.plan.sources.prompt_source import UniformPrompts
from trtbench.scenario.reading import parse_scenario

C4 = {"concurrency": 4, "requests": 12, "warmup_requests": 3}
POISSON = {"mode": "poisson", "rate": 50, "duration_s": 2, "warmup_requests": 5}
RANGES = {"input_tokens": {"min": 5, "max": 40}, "output_tokens": {"min": 1, "max": 9}}


def plan(*stages: dict[str, Any], seeds: dict[str, int] | None = None, **workload: Any) -> Plan:
    tree = {"name": "x", "load": list(stages), "workload": RANGES | workload, "seeds": seeds or {}}
    return draw_plan(parse_scenario(tree, "test"), UniformPrompts(1000))


def asked(phase: Phase) -> list[Any]:
    offsets = None if phase.due_offsets_ns is None else phase.due_offsets_ns.tolist()
    return [offsets, [(prompt.input_ids.tolist(), prompt.output_tokens, prompt.seed) for prompt in phase.prompts]]


def test_the_same_scenario_gives_the_same_plan() -> None:
    assert plan(C4, POISSON).sha256 == plan(C4, POISSON).sha256


def test_another_stage_does_not_change_a_stage() -> None:
    alone, second = plan(POISSON).stages[0], plan(C4, POISSON).stages[1]
    assert asked(alone.measured) == asked(second.measured)
    assert asked(alone.warmup) == asked(second.warmup)


@pytest.mark.parametrize("dimension", ["arrivals", "lengths", "prompts", "sampling"])
def test_a_seed_changes_its_own_dimension_only(dimension: str) -> None:
    def parts(chosen: Plan) -> dict[str, Any]:
        phase = chosen.stages[0].measured
        assert phase.due_offsets_ns is not None
        return {
            "arrivals": phase.due_offsets_ns[:50].tolist(),
            "lengths": [(len(prompt.input_ids), prompt.output_tokens) for prompt in phase.prompts[:50]],
            "prompts": [prompt.input_ids[:5].tolist() for prompt in phase.prompts[:50]],
            "sampling": [prompt.seed for prompt in phase.prompts[:50]],
        }

    before, after = parts(plan(POISSON)), parts(plan(POISSON, seeds={dimension: 99}))
    changed = {name for name in before if before[name] != after[name]}
    # Other lengths cut the same stream of ids elsewhere.
    assert changed == ({"lengths", "prompts"} if dimension == "lengths" else {dimension})


def test_dimensions_with_one_seed_are_not_the_same_numbers() -> None:
    phase = plan(C4, seeds={"lengths": 5, "prompts": 5, "sampling": 5}, input_tokens={"min": 1, "max": 1000}).stages[0].measured
    assert [len(prompt.input_ids) for prompt in phase.prompts] != [1 + prompt.seed % 1000 for prompt in phase.prompts]


def test_negative_seeds_are_seeds() -> None:
    assert plan(C4, seeds={"prompts": -1}).sha256 != plan(C4, seeds={"prompts": 1}).sha256


def test_more_requests_begin_like_fewer() -> None:
    few, many = (plan({"concurrency": 4, "requests": count}).stages[0].measured for count in (10, 30))
    assert asked(few)[1] == asked(many)[1][:10]


def test_lengths_fill_their_range_and_no_more() -> None:
    phase = plan({"concurrency": 1, "requests": 2000}).stages[0].measured
    assert {len(prompt.input_ids) for prompt in phase.prompts} == set(range(5, 41))
    assert {prompt.output_tokens for prompt in phase.prompts} == set(range(1, 10))


def test_stages_by_time_use_a_few_prompts_in_turn() -> None:
    closed = plan({"concurrency": 4, "duration_s": 60}, distinct_prompts=7).stages[0].measured
    assert (len(closed.prompts), closed.requests, closed.planned, closed.duration_s) == (7, None, None, 60)
    opened = plan({"mode": "constant", "rate": 10, "duration_s": 60}, distinct_prompts=7).stages[0].measured
    assert (len(opened.prompts), opened.requests, opened.planned, opened.duration_s) == (7, 600, 600, None)


def test_what_is_known_of_each_kind_of_stage() -> None:
    counted = plan(C4).stages[0]
    assert (counted.measured.requests, counted.measured.planned, counted.warmup.planned) == (12, 12, 3)
    bounded = plan(C4 | {"duration_s": 5}).stages[0].measured
    assert (bounded.requests, bounded.planned, bounded.duration_s) == (12, None, 5)
    empty = plan({"mode": "poisson", "rate": 0.001, "duration_s": 0.001}).stages[0].measured
    assert (len(empty.prompts), empty.planned) == (0, 0)


def test_the_warmup_has_prompts_of_its_own() -> None:
    stage = plan(C4 | {"warmup_requests": 12}, input_tokens=1).stages[0]  # ids below 1000 and 24 draws: some would meet
    drawn = [int(prompt.input_ids[0]) for phase in (stage.measured, stage.warmup) for prompt in phase.prompts]
    assert len(set(drawn)) == 24
    assert (stage.measured.first_prompt, stage.warmup.first_prompt) == (0, 12)


def test_drawing_ends_when_there_are_no_new_prompts() -> None:
    tree = {"name": "x", "load": [C4], "workload": {"input_tokens": 1}}
    assert len(draw_plan(parse_scenario(tree, "test"), UniformPrompts(2)).stages[0].measured.prompts) == 12


def test_sampling_seeds_fit_a_signed_32_bit_tensor() -> None:
    seeds = np.array([prompt.seed for prompt in plan({"concurrency": 1, "requests": 500}).stages[0].measured.prompts])
    assert seeds.min() >= 0 and seeds.max() < 2**31 and len(set(seeds.tolist())) > 490


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


def replay(path: Path, seeds: dict[str, int] | None = None, **stage: Any) -> Plan:
    tree = {"name": "x", "load": [{"mode": "trace", "trace": str(path)} | stage], "seeds": seeds or {}}
    return draw_plan(parse_scenario(tree, "test"), UniformPrompts(50_000))


def ids(phase: Phase) -> list[list[int]]:
    return [prompt.input_ids.tolist() for prompt in phase.prompts]


def test_a_trace_gives_times_and_lengths(trace: Path) -> None:
    phase = replay(trace, speed=2).stages[0].measured
    assert phase.due_offsets_ns is not None
    assert phase.due_offsets_ns.tolist() == [0, 50_000_000, 50_000_000, 1_000_000_000, 1_500_000_000]
    assert [len(prompt.input_ids) for prompt in phase.prompts] == [1300, 1030, 600, 40, 3]
    assert [prompt.output_tokens for prompt in phase.prompts] == [5, 6, 7, 8, 9]
    assert (phase.requests, phase.planned, ids(phase)[4]) == (5, 5, [1, 2, 3])


def test_equal_hash_ids_are_equal_tokens(trace: Path) -> None:
    first, second, third, *_ = ids(replay(trace).stages[0].measured)
    assert first[:1024] == second[:1024]
    assert first[1024:1030] != second[1024:1030]
    assert third[512:600] == first[1024:1112]  # the partial block begins like the longer one
    assert third[:512] != first[:512]


def test_batch_means_do_not_depend_on_what_else_is_replayed(trace: Path) -> None:
    whole, cut = replay(trace).stages[0].measured, replay(trace, requests=2).stages[0].measured
    assert ids(cut) == ids(whole)[:2]
    assert len(replay(trace, duration_s=1).stages[0].measured.prompts) == 3


def test_the_warmup_and_other_seeds_have_other_tokens(trace: Path) -> None:
    stage = replay(trace, warmup_requests=2).stages[0]
    assert [len(one) for one in ids(stage.warmup)] == [1300, 1030]
    assert stage.warmup.due_offsets_ns is not None and stage.warmup.due_offsets_ns.tolist() == [0, 100_000_000]
    assert stage.warmup.first_prompt == 5
    assert ids(stage.warmup)[0][:512] != ids(stage.measured)[0][:512]
    assert ids(replay(trace, seeds={"prompts": 9}).stages[0].measured)[0] != ids(stage.measured)[0]


def test_the_hash_of_the_plan_covers_the_trace(trace: Path, tmp_path: Path) -> None:
    before = replay(trace)
    save_plan(before, tmp_path / "plan.jsonl")
    trace.write_text(trace.read_text().replace("2000", "2001"))
    assert replay(trace).sha256 != before.sha256
    trace.unlink()
    assert load_plan(tmp_path / "plan.jsonl").sha256 == before.sha256  # years later
