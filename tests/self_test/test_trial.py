from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from trtbench.load.share import users
from trtbench.plan.plan import Plan
from trtbench.plan.plan_file import load_plan, save_plan
from trtbench.self_test.trial import closed_loop, poisson, prompt


def test_a_prompt_is_its_schedule() -> None:
    ask = prompt(20_000, 5000, 7)
    assert (ask.input_ids.tolist(), ask.input_ids.dtype, ask.output_tokens) == ([20_000, 5000], np.int32, 7)


@pytest.mark.parametrize("delays", [(-1, 0), (0, -1), (2**31, 0), (0, 2**31)])
def test_delays_that_no_token_id_holds_are_refused(delays: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="31 bits"):
        prompt(*delays, 1)


def test_a_closed_loop_lasts_and_is_warmed_up_on_every_stream() -> None:
    (stage,) = closed_loop(64, (prompt(0, 0, 1),), 5).stages
    assert (stage.measured.duration_s, stage.measured.requests, stage.warmup.requests) == (5, None, 64)
    assert users(stage.measured) == users(stage.warmup) == 64


def test_poisson_arrivals_have_the_asked_rate_and_exponential_gaps() -> None:
    (stage,) = poisson(500, prompt(0, 0, 1), 60).stages
    offsets_ns = stage.measured.due_offsets_ns
    assert offsets_ns is not None and stage.warmup.due_offsets_ns is not None
    gaps_s = np.diff(offsets_ns) / 1e9
    assert len(offsets_ns) == stage.measured.requests == 30_000
    assert gaps_s.min() >= 0
    assert gaps_s.mean() == pytest.approx(1 / 500, rel=0.02)
    assert gaps_s.std() == pytest.approx(gaps_s.mean(), rel=0.02)
    assert (gaps_s > 2 / 500).mean() == pytest.approx(np.exp(-2), rel=0.05)
    assert len(stage.warmup.due_offsets_ns) == stage.warmup.requests == 100


@pytest.mark.parametrize("plan", [closed_loop(3, (prompt(1, 2, 3),), 0.5), poisson(10, prompt(1, 2, 3), 1)], ids=["closed", "open"])
def test_workers_read_the_same_plan(plan: Plan, tmp_path: Path) -> None:
    save_plan(plan, tmp_path / "plan.jsonl")
    assert load_plan(tmp_path / "plan.jsonl").sha256 == plan.sha256
