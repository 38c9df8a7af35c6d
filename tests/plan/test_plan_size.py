from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

from trtbench.plan.draw import draw_plan
from trtbench.plan.plan_file import load_plan, save_plan
from trtbench.plan.plan_size import check_plan_size, check_requests, plan_size
from trtbench.plan.sources.prompt_source import UniformPrompts
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario

GIB = 1 << 30


def scenario(load: dict[str, Any] | list[dict[str, Any]], **workload: Any) -> Scenario:
    return parse_scenario({"name": "x", "load": load if isinstance(load, list) else [load], "workload": workload}, "x")


@pytest.mark.parametrize(
    ("load", "workload", "says"),
    [
        ({"concurrency": 1, "requests": 100_000_000}, {}, "load.0.requests = 100,000,000: the plan would have"),
        ({"mode": "constant", "rate": 1e6, "duration_s": 600}, {}, "load.0.rate x load.0.duration_s = 600,0"),
        ({"mode": "poisson", "rate": {"from": 1, "to": 1e6, "steps": 50_000}, "duration_s": 2e6}, {}, "load.0.rate x load.0.duration_s"),
        ({"mode": "burst", "rate": 1e6, "on_s": 1, "off_s": 1, "duration_s": 1e6}, {}, "the upper bound is 100,000,000"),
        ({"concurrency": 1, "duration_s": 60}, {"distinct_prompts": 90_000_000}, "workload.distinct_prompts = 90,000,000"),
        ({"concurrency": 1, "requests": 1, "warmup_requests": 90_000_000}, {}, "load.0.warmup_requests = 90,000,000"),
        (
            {"concurrency": 1, "requests": 10_000},
            {"input_tokens": 5_000_000},
            "50,000,000,000 prompt tokens; the upper bound is 10,0",
        ),
        (
            {"concurrency": 1, "requests": 1},
            {"prefix": {"groups": 1_000_000, "tokens": 1_000_000}},
            "workload.prefix of 1,000,000,000,000 tokens",
        ),
        (
            {"concurrency": 1, "requests": 1_000_000},
            {"mix": {f"k{number}": {} for number in range(500)}},
            "MiB in memory, in each of 2 processes; the upper bound is",
        ),
        (
            [{"concurrency": 1, "requests": 1}, {"concurrency": 2, "requests": 99_000_000}, {"concurrency": 3, "requests": 9_000_000}],
            {},
            "load.1.requests = 99,000,000: the plan would have 108,000,001 requests",
        ),
    ],
)
def test_a_plan_too_large_is_refused_by_its_key_before_it_is_drawn(load: Any, workload: dict[str, Any], says: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        check_plan_size(scenario(load, **workload), scenario(load, **workload).load, 16 * GIB)
    assert says in str(caught.value)
    with pytest.raises(ScenarioError):
        draw_plan(scenario([{"concurrency": 1, "requests": 100_000_000}], input_tokens=1000), UniformPrompts(100))


@pytest.mark.parametrize(
    "load",
    [
        {"mode": "poisson", "rate": 12.0, "duration_s": 86_400},
        {"concurrency": 2000, "duration_s": 86_400},
        {"mode": "constant", "rate": 11.6, "requests": 1_000_000},
    ],
)
def test_a_day_is_allowed_on_a_small_machine(load: dict[str, Any]) -> None:
    one = scenario(load, input_tokens=256)
    assert check_plan_size(one, one.load, 8 * GIB).memory_bytes < 3 * GIB


@pytest.mark.parametrize(
    ("load", "workload"),
    [
        ({"concurrency": 4, "requests": 1000, "warmup_requests": 100}, {"input_tokens": {"min": 100, "max": 300}}),
        ({"mode": "poisson", "rate": 500, "duration_s": 10}, {"input_tokens": 8}),
        ({"concurrency": 4, "requests": 600}, {"input_tokens": 50, "prefix": {"groups": 3, "tokens": 100, "share_ratio": 0.5}}),
        ({"concurrency": 4, "requests": 600}, {"mix": {"a": {"input_tokens": 10}, "b": {"input_tokens": 90, "weight": 3}}}),
        ({"concurrency": 4, "requests": 600}, {"input_tokens": 20, "sessions": {"turns": {"min": 1, "max": 5}}}),
    ],
)
def test_the_estimate_holds_for_a_plan_that_is_drawn(tmp_path: Path, load: dict[str, Any], workload: dict[str, Any]) -> None:
    asked = scenario(load, **workload)
    found = plan_size(asked, asked.load)
    tracemalloc.start()
    plan = draw_plan(asked, UniformPrompts(50_000))
    drawn_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    save_plan(plan, tmp_path / "plan.jsonl")
    prompts = [prompt for stage in plan.stages for phase in (stage.measured, stage.warmup) for prompt in phase.prompts]
    assert found.prompts == len(prompts)
    assert found.prompt_tokens == pytest.approx(sum(len(prompt.input_ids) for prompt in prompts), rel=0.1)
    assert found.requests == pytest.approx(
        sum(phase.requests or 0 for stage in plan.stages for phase in (stage.measured, stage.warmup)), rel=0.1
    )
    assert 0.4 * found.memory_bytes < drawn_bytes < 1.2 * found.memory_bytes
    assert 0.4 * found.disk_bytes < (tmp_path / "plan.jsonl").stat().st_size < 1.2 * found.disk_bytes


def test_a_trace_counts_what_is_replayed(tmp_path: Path) -> None:
    rows = [{"timestamp": 1000 * number, "input_length": 100, "output_length": 1} for number in range(50)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    asked = scenario({"mode": "trace", "trace": str(tmp_path / "t.jsonl"), "requests": 20, "warmup_requests": 5})
    found = plan_size(asked, asked.load)
    assert (found.requests, found.prompt_tokens, found.due) == (25, 2500, 20)


def test_a_saved_plan_is_read_in_the_memory_that_it_takes(tmp_path: Path) -> None:
    """A worker once held every token id as a Python number while it read."""
    asked = scenario({"concurrency": 4, "requests": 800}, input_tokens=200)
    save_plan(draw_plan(asked, UniformPrompts(50_000)), tmp_path / "plan.jsonl")
    tracemalloc.start()
    plan = load_plan(tmp_path / "plan.jsonl")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(plan.stages[0].measured.prompts) == 800
    assert peak < 1.5 * plan_size(asked, asked.load).memory_bytes


def test_an_open_loop_that_would_send_nothing_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"load\.0\.duration_s = 5: poisson-0\.0001 would send nothing"):
        check_requests(scenario({"mode": "poisson", "rate": 0.0001, "duration_s": 5}).load)
    check_requests(scenario([{"mode": "poisson", "rate": 1, "duration_s": 5}, {"concurrency": 1, "duration_s": 1}]).load)
