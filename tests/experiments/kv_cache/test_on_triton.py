"""A full KV cache, cancelled requests and prefix reuse on the real server."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.command import ran
from tests.support.triton.started_run import MINI, StartRun, run_of
from trtbench.analysis.summary import summarise
from trtbench.experiments.kv_cache.cancel_control import CANCEL_CONTROLS
from trtbench.experiments.kv_cache.cancellation import CANCELLATIONS
from trtbench.experiments.kv_cache.prefix_reuse import PREFIX_REUSE
from trtbench.experiments.kv_cache.pressure import KV_CAPACITY, KV_PRESSURES
from trtbench.rundir.records import Outcome

pytestmark = [pytest.mark.triton, pytest.mark.timeout(150, func_only=True)]

OFF = MINI["deployments"]["default"] | {"kv_cache": {"blocks": 12}}
C6 = {"concurrency": 6, "requests": 8}
SCENARIO: dict[str, Any] = MINI | {
    "deployments": {"off": OFF, "on": OFF | {"kv_cache": {"blocks": 12, "prefix_caching": True}}},
    "workload": {"prefix": {"tokens": 64}, "input_tokens": 16, "output_tokens": 20, "cancel": {"ratio": 0.25, "after_tokens": 6}},
    "load": [{"concurrency": 1, "requests": 4}, C6, C6 | {"same_as": "c6", "cancel_ratio": 0}],
}
"""A request of 100 tokens takes 4 blocks: 12 carry 3, not 6."""


def test_a_full_cache_is_seen_and_cancelled_requests_give_back_their_blocks(start_run: StartRun) -> None:
    command = start_run(SCENARIO, draws=True)
    assert ran(command.wait(120), command.directory), command.err
    summary = summarise(run_of(command))
    off, on = summary.deployments
    assert off.kv_blocks_left == on.kv_blocks_left == 0  # the engine's gauge holds no cached blocks
    assert [(p.fit_mean, p.fit_longest) for p in off.found[KV_PRESSURES]] == [(3, 3)] * 3
    assert off.found[KV_CAPACITY] is not None
    assert (off.found[KV_CAPACITY].carried_users, off.found[KV_CAPACITY].held_back_users) == (1, 6)
    assert off.found[CANCELLATIONS]
    for audit in off.found[CANCELLATIONS]:
        assert audit.cancelled > 0 and audit.wasted_tokens >= 6 * audit.cancelled
        assert audit.let_go == audit.cancelled
        assert audit.blocks_beyond in (0, None)
        assert audit.blocks_back is not None
    (control,) = off.found[CANCEL_CONTROLS]
    assert (control.stage, control.control) == ("c6", "c6-cancel0") and on.found[CANCEL_CONTROLS] == ()
    records = {deployment.name: deployment.requests() for deployment in run_of(command).deployments()}["off-int8"]
    asked = [[(r.index, r.input_tokens, r.asked_output_tokens) for r in records if r.stage == s] for s in ("c6", "c6-cancel0")]
    assert sorted(asked[0]) == sorted(asked[1])
    assert not any(r.planned_cancel for r in records if r.stage == "c6-cancel0")
    assert 0 < control.compared == sum(r.outcome is Outcome.COMPLETED for r in records if r.stage == "c6")
    assert off.timeline.kv_blocks_max == 12 and max(off.kv_used_blocks.value) == 12 - min(off.timeline.free_blocks.low)
    assert len(off.timeline.cancels_ns) == sum(audit.cancelled for audit in off.found[CANCELLATIONS])
    assert "timeline-off-int8.png" in [path.name for path in (run_of(command).path / "plots").iterdir()]
    (reuse,) = summary.found[PREFIX_REUSE]
    assert (reuse.off, reuse.on) == ("off-int8", "on-int8")
    assert reuse.stages[0].designed_hit_ratio == pytest.approx(3 * 64 / (4 * 80))
    assert all(stage.hit_ratio is None for stage in reuse.stages)  # this engine does not count what it reuses
