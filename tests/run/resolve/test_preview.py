from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.run.resolve.preview import preview
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario
from trtbench.serving.repository.model_repository import KvBudget
from trtbench.tasks.generate import ASSUMED_TOKENS_PER_S


def scenario(*stages: dict[str, Any], **more: Any) -> Scenario:
    return parse_scenario({"name": "x", "load": list(stages), "workload": {"output_tokens": 20}} | more, "x")


def test_a_rate_and_a_count_give_the_duration() -> None:
    (stage,) = preview(scenario({"mode": "constant", "rate": 4, "requests": 100}), {}).stages
    assert (stage.duration_s, stage.requests, stage.estimated) == (25, 100, False)


def test_a_duration_gives_the_count_of_an_open_loop() -> None:
    (stage,) = preview(scenario({"mode": "poisson", "rate": 4, "duration_s": 10}), {}).stages
    assert (stage.duration_s, stage.requests, stage.estimated) == (10, 40, False)


def test_a_closed_loop_by_time_has_no_count() -> None:
    (stage,) = preview(scenario({"concurrency": 4, "duration_s": 10}), {}).stages
    assert (stage.duration_s, stage.requests, stage.estimated) == (10, None, False)


def test_a_closed_loop_by_count_is_estimated() -> None:
    (stage,) = preview(scenario({"concurrency": 4, "requests": 10}), {}).stages
    assert (stage.duration_s, stage.estimated) == (10 * 20 / ASSUMED_TOKENS_PER_S, True)


def test_what_ends_first_counts() -> None:
    rated, counted = preview(
        scenario(
            {"mode": "constant", "rate": 10, "requests": 1000, "duration_s": 5}, {"concurrency": 1, "requests": 10, "duration_s": 1000}
        ),
        {},
    ).stages
    assert (rated.duration_s, rated.requests) == (5, 50)
    assert (counted.duration_s, counted.requests, counted.estimated) == (4, 10, True)


def test_a_ramp_sends_what_its_integral_says() -> None:
    line, stairs, held = preview(
        scenario(
            {"mode": "poisson", "rate": {"from": 0, "to": 20}, "duration_s": 60},
            {"mode": "constant", "rate": {"from": 10, "to": 40, "steps": 4}, "duration_s": 20},
            {"mode": "poisson", "rate": {"from": 2, "to": 10, "over_s": 10}, "duration_s": 100, "requests": 160},
        ),
        {},
    ).stages
    assert (line.requests, line.duration_s, line.level) == (600, 60, 20)
    assert stairs.requests == 500
    assert (held.requests, held.duration_s) == (160, 20)


def test_bursts_send_at_their_mean_rate() -> None:
    (stage,) = preview(scenario({"mode": "burst", "rate": 50, "on_s": 2, "off_s": 8, "duration_s": 60}), {}).stages
    assert (stage.requests, stage.level) == (600, 10)


def test_users_that_think_take_longer() -> None:
    (stage,) = preview(scenario({"concurrency": 4, "requests": 100, "think_s": 2}), {}).stages
    assert (stage.duration_s, stage.estimated) == (100 * 20 / ASSUMED_TOKENS_PER_S + 100 * 2 / 4, True)


def test_a_trace_has_as_many_requests_as_lines(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text("".join(f'{{"timestamp": {500 * line}, "input_length": 5, "output_length": 2}}\n' for line in range(21)))
    whole, cut = preview(
        scenario({"mode": "trace", "trace": str(path)}, {"mode": "trace", "trace": str(path), "speed": 2, "duration_s": 1}), {}
    ).stages
    assert (whole.requests, whole.duration_s, whole.level, whole.estimated) == (21, 10, 2, False)
    assert (cut.requests, cut.duration_s, cut.level) == (4, 0.75, 4)


@given(st.integers(1, 100), st.floats(0.1, 100), st.integers(1, 3), st.sampled_from([["fp16"], ["fp16", "int8"]]))
def test_the_whole_is_the_sum_over_stages_and_runs(requests: int, rate: float, deployments: int, engines: list[str]) -> None:
    plan = preview(
        scenario(
            {"mode": "constant", "rate": rate, "requests": requests},
            {"concurrency": 2, "duration_s": 7},
            engines=engines,
            deployments={f"d{number}": {} for number in range(deployments)},
        ),
        {},
    )
    assert len(plan.runs) == deployments * len(engines)
    assert plan.duration_s == pytest.approx(len(plan.runs) * (requests / rate + 7))
    assert plan.requests == requests


def test_requests_that_fit_the_kv_cache_at_once() -> None:
    budget = KvBudget(blocks=23, block_tokens=32, dtype="fp16", bytes_per_token=100, blocks_per_request=5)
    plan = preview(
        scenario({"concurrency": 1, "requests": 1}, deployments={"tight": {"scheduler": {"max_sequences": 9}}}), {"tight": budget}
    )
    (kv,) = plan.kv
    assert (kv.deployment, kv.blocks, kv.bytes, kv.concurrent_requests, kv.max_sequences) == ("tight", 23, 23 * 32 * 100, 4, 9)


def test_the_hit_ratio_of_a_prefix_design_by_stage() -> None:
    """n requests of 60 + 40 tokens with one prefix find it n - 1 times; of a stage by time, the prompts drawn count."""
    stages = [
        {"concurrency": 1, "requests": 100},
        {"mode": "constant", "rate": 4, "duration_s": 10},
        {"concurrency": 2, "duration_s": 10},
        {"mode": "poisson", "rate": 100, "duration_s": 10},
    ]
    workload = {"input_tokens": 40, "prefix": {"tokens": 60}, "distinct_prompts": 50}
    found = preview(scenario(*stages, workload=workload), {}).prefix_hit_ratios
    assert found == pytest.approx({"c1": 0.6 * 0.99, "constant-4": 0.6 * 39 / 40, "c2": 0.6 * 49 / 50, "poisson-100": 0.6 * 49 / 50})
    assert preview(scenario(*stages), {}).prefix_hit_ratios == {}
