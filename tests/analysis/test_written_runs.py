"""Planted truths through the files of a run directory and the reader of `trtbench report`: found, and not found where absent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.experiments.context_limit.test_context_limits import BLOCKS, LIMIT, NO_ROOM, Search, whole_search
from tests.experiments.kv_cache.test_cancel_control import BESIDE, COUNT, TOKENS, WITHOUT, Loop
from tests.experiments.kv_cache.test_cancel_control import scenario as control_scenario
from tests.support.records import MS, S, request_of
from tests.support.runs.synthetic_reloads import END, FIRST, RECOVERED, START, TTFT, events, planned_reloads, requests
from tests.support.runs.written_run import Series, Served, codes, summary_of, the_only, window
from trtbench.analysis.summary import Summary
from trtbench.experiments.context_limit.context_limits import CONTEXT_LIMITS, ContextLimits
from trtbench.experiments.hot_reload.reloads import RELOADS
from trtbench.experiments.kv_cache.cancel_control import CANCEL_CONTROLS
from trtbench.experiments.kv_cache.cancellation import CANCELLATIONS
from trtbench.experiments.kv_cache.prefix_reuse import PREFIX_REUSE
from trtbench.experiments.kv_cache.pressure import KV_CAPACITY, KV_PRESSURES, Held
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario

pytestmark = pytest.mark.whole_run


def scenario(**more: Any) -> Scenario:
    tree = {"name": "x", "engines": ["int8"], "load": [{"concurrency": 1, "requests": 2}], "telemetry": {"interval_ms": 100}}
    return parse_scenario(tree | more, "x")


def searched(path: Path, search: Search, blocks: int = BLOCKS) -> tuple[ContextLimits, set[str]]:
    search.event("context_search_finished", ended="done")
    asked = parse_scenario({"name": "x", "engines": ["int8"], "context_limit": {"output_tokens": 8}}, "x")
    served = Served(search.requests, series={("kv_blocks_used", ""): search.kv}, events=search.events, facts={"kv_blocks": blocks})
    summary = summary_of(path, asked, served)
    limits = the_only(summary).found[CONTEXT_LIMITS]
    assert limits is not None
    return limits, codes(summary, "limit_")


def test_the_context_limit(tmp_path: Path) -> None:
    limits, found = searched(tmp_path / "run", whole_search())
    (limit,) = limits.limits
    assert (limit.passed_tokens, limit.failed_tokens, limit.failure, limit.confirmed) == (1504, 1536, "kv_exhausted", 6)
    assert (limits.predicted_tokens, limits.agrees(limit), found) == (LIMIT, True, {"limit_of_kv_budget"})
    assert next(trial.error for trial in limits.trials if not trial.passed) == NO_ROOM


def test_a_context_limit_that_theory_did_not_give_and_a_server_that_is_ill(tmp_path: Path) -> None:
    assert searched(tmp_path / "early", whole_search(), blocks=2 * BLOCKS)[1] == {"limit_not_as_predicted", "limit_of_kv_budget"}
    search = whole_search()
    search.trial(1, 2048, healthy=False, blocks_left=3)
    assert searched(tmp_path / "ill", search)[1] == {"limit_unhealthy", "limit_blocks_left", "limit_of_kv_budget"}


def reloaded(path: Path, records: list[RequestRecord]) -> Summary:
    asked = planned_reloads()
    (stage,) = asked.load
    happened = [event for event in events() if event.kind != "stage_started"]
    served = Served(records, [window(stage.label, START, END, 400, stage.level, "constant")], events=happened, dtype=asked.engines[0])
    return summary_of(path, asked, served)


def in_stage(records: list[RequestRecord]) -> list[RequestRecord]:
    (stage,) = planned_reloads().load
    return [replace(record, stage=stage.label, index=index) for index, record in enumerate(records)]


def test_what_a_reload_costs(tmp_path: Path) -> None:
    summary = reloaded(tmp_path / "run", in_stage(requests()))
    found = the_only(summary).found[RELOADS]
    assert found is not None
    first, broken, third = found.reloads
    assert (first.ttft_spike_ratio, first.recovery_ns, first.overlap_ns) == ((TTFT + 350 * MS) / TTFT, RECOVERED - FIRST, 3 * S)
    assert (broken.as_meant, broken.served_on, broken.ttft_spike_ratio, third.ttft_spike_ratio) == (True, ("2",), 1, 1)
    assert {version: use.completed for version, use in found.versions.items()} == {"1": 120, "2": 280}
    assert codes(summary, "reload_") == {"reload_spiked"}


def test_reloads_that_disturb_nobody(tmp_path: Path) -> None:
    even = [replace(r, token_ns=[r.due_ns + TTFT + i * 10 * MS for i in range(4)]) for r in in_stage(requests())]
    summary = reloaded(tmp_path / "run", [replace(r, done_ns=r.token_ns[-1]) for r in even])
    found = the_only(summary).found[RELOADS]
    assert found is not None and [one.ttft_spike_ratio for one in found.reloads] == [1, 1, 1]
    assert codes(summary, "reload_") == set()


def cancelled(path: Path, lets_go_ns: int, blocks_after: int) -> Summary:
    """Two requests, the second goes at 300 ms. It is seen active until `lets_go_ns`; then `blocks_after` are used, the first needs 5."""
    stays = request_of(0, [100 * MS * i for i in range(1, 41)], stage="c2", input_tokens=60)
    goes = request_of(0, [200 * MS, 250 * MS], Outcome.CANCELLED, stage="c2", index=1, input_tokens=60, asked_output_tokens=40)
    goes.planned_cancel, goes.done_ns = True, 300 * MS
    times = range(0, 6 * S, 100 * MS)
    series: Series = {("kv_blocks_max", ""): [(0, 20)], ("kv_block_tokens", ""): [(0, 16)]}
    series["inflight_active_requests", ""] = [(t, 2 if t < lets_go_ns else 1 if t < 4 * S else 0) for t in times]
    used = [(t, blocks_after - 5 if t > 4 * S else 12 if t < lets_go_ns else blocks_after) for t in times]
    series["kv_blocks_used", ""] = [(0, 0), *used[1:]]
    asked = scenario(load=[{"concurrency": 2, "requests": 2}], workload={"cancel": {"ratio": 0.5, "after_tokens": 2}})
    return summary_of(path, asked, Served([stays, goes], [window("c2", 0, 4 * S, 2, 2)], series))


def test_a_cancelled_request_that_lets_go(tmp_path: Path) -> None:
    summary = cancelled(tmp_path / "run", 500 * MS, 5)
    (audit,) = the_only(summary).found[CANCELLATIONS]
    assert (audit.cancelled, audit.let_go, audit.let_go_max_ns, audit.blocks_beyond) == (1, 1, 200 * MS, 0)
    assert the_only(summary).kv_blocks_left == 0 and codes(summary, "cancel_") == codes(summary, "kv_blocks") == set()


def test_a_cancelled_request_that_keeps_its_blocks(tmp_path: Path) -> None:
    summary = cancelled(tmp_path / "run", 500 * MS, 9)
    (audit,) = the_only(summary).found[CANCELLATIONS]
    assert (audit.let_go, audit.blocks_back, audit.blocks_beyond) == (1, 0, 4)
    assert the_only(summary).kv_blocks_left == 4
    assert (codes(summary, "cancel_"), codes(summary, "kv_blocks")) == ({"cancel_blocks_kept"}, {"kv_blocks_leaked"})


def controlled(path: Path, *loops: Loop) -> Summary:
    records = [record for loop in loops for record in loop.requests()]
    windows = [window(loop.stage, 0, max(record.done_ns or 0 for record in loop.requests()), COUNT) for loop in loops]
    asked = control_scenario()
    return summary_of(path, asked, Served(records, windows, dtype=asked.engines[0]))


def test_survivors_beside_their_control(tmp_path: Path) -> None:
    (found,) = the_only(controlled(tmp_path / "run", BESIDE, WITHOUT)).found[CANCEL_CONTROLS]
    assert (found.stage, found.control, found.cancelled_ratio, found.compared) == ("c1", "c1-cancel0", 0.25, 30)
    assert found.beside.tokens_per_s == pytest.approx(30 * TOKENS / 7.1) and found.without.tokens_per_s == pytest.approx(30 * TOKENS / 16)
    assert (found.beside.ttft_ns.p50, found.without.ttft_ns.p50) == (100 * MS, 200 * MS)


def test_survivors_without_a_control(tmp_path: Path) -> None:
    assert the_only(controlled(tmp_path / "alone", BESIDE)).found[CANCEL_CONTROLS] == ()
    also_cancelled = Loop("c1-cancel0", 100, 10, cancels=True)
    assert the_only(controlled(tmp_path / "cancelled", BESIDE, also_cancelled)).found[CANCEL_CONTROLS] == ()


SHORT, LONG = ({"input_tokens": 20, "asked_output_tokens": 12}, {"input_tokens": 40, "asked_output_tokens": 9, "index": 1})
"""32 tokens, of 16 a block; 49 tokens, which need 4 of 10 blocks."""


def gauges(used: tuple[int, ...], waiting: tuple[int, ...], **more: tuple[int, ...]) -> Series:
    names = {"kv_blocks_used": used, "inflight_waiting_requests": waiting, "kv_blocks_max": (10,), "kv_block_tokens": (16,), **more}
    return {(name, ""): [(i * S, n) for i, n in enumerate(values)] for name, values in names.items()}


def pressed(path: Path, series: Series, caches: bool = False) -> Summary:
    asked = scenario(deployments={"default": {"kv_cache": {"blocks": 10, "prefix_caching": caches}}})
    pair = [request_of(0, [S, 3 * S - MS], **more) for more in (SHORT, LONG)]
    return summary_of(path, asked, Served(pair, [window("c1", 0, 3 * S, 2)], series))


def test_requests_held_back_by_the_kv_budget(tmp_path: Path) -> None:
    """At 7 and 9 of 10 used blocks less than 4 are free while 3 wait or 1 is paused; at 6 there is room."""
    paused = {"inflight_paused_requests": (0, 0, 0, 1)}
    result = the_only(pressed(tmp_path / "full", gauges((0, 6, 7, 9), (0, 2, 3, 0), **paused)))
    (held,) = result.found[KV_PRESSURES]
    assert (held.fit_longest, held.fit_mean, held.request_tokens_longest) == (2, 3, 49)
    assert (held.held_back_ratio, held.waiting, held.paused) == (0.5, Held(3, 0.5), Held(1, 0.25))
    capacity = result.found[KV_CAPACITY]
    assert capacity is not None and (capacity.carried_users, capacity.held_back_users) == (None, 1)
    free = the_only(pressed(tmp_path / "free", gauges((0, 6, 6, 6), (0, 2, 3, 0), inflight_paused_requests=(0, 0, 0, 0))))
    assert free.found[KV_PRESSURES][0].held_back_ratio == 0
    assert free.found[KV_CAPACITY] is not None and (free.found[KV_CAPACITY].carried_users, free.found[KV_CAPACITY].held_back_users) == (
        1,
        None,
    )


def test_steps_that_the_engine_counted(tmp_path: Path) -> None:
    """4 steps of one request and 10 of three; what was counted before and after the stage is not its own."""
    series: Series = {
        ("inflight_scheduled_requests", ""): [(0, 0), (S, 3), (2 * S, 1), (3 * S, 0), (4 * S, 0)],
        ("inflight_steps", "1"): [(0, 5), (S, 6), (2 * S, 8), (3 * S, 9), (4 * S, 50)],
        ("inflight_steps", "3"): [(S, 4), (2 * S, 6), (3 * S, 10), (4 * S, 10)],
        ("inflight_tokens", "alone"): [(0, 5), (3 * S, 9), (4 * S, 50)],
        ("inflight_tokens", "in_company"): [(S, 12), (3 * S, 28), (4 * S, 99)],
    }
    batch = the_only(pressed(tmp_path / "counted", series)).stages[0].inflight
    assert batch is not None and batch.exact
    assert (batch.steps, batch.mean_batch, batch.seen_batch, batch.in_company_ratio) == ({1: 4, 3: 10}, 34 / 14, 94 / 34, 28 / 32)
    sampled = {key: points for key, points in series.items() if key[0] == "inflight_scheduled_requests"}
    seen = the_only(pressed(tmp_path / "sampled", sampled)).stages[0].inflight
    assert seen is not None and not seen.exact and seen.steps == {3: 1, 1: 1}


def reused(path: Path, counted: bool, shared: bool = True) -> Summary:
    """Without and with prefix caching on one plan; the engine says that 2 blocks of 16 of the 60 input tokens were reused."""
    kinds = {name: {"kv_cache": {"blocks": 10, "prefix_caching": name == "on"}} for name in ("off", "on")}
    asked = scenario(deployments=kinds, workload={"input_tokens": 32, "prefix": {"tokens": 16} if shared else None})
    reuse = {"kv_blocks_reused": (5, 5, 6, 7)} if counted else {}
    series = gauges((1, 1, 1, 1), (0, 0, 0, 0), **reuse)
    pairs = {name: [request_of(0, [ttft_ns, 2 * S], **more) for more in (SHORT, LONG)] for name, ttft_ns in (("off", S), ("on", S // 4))}
    served = [Served(pair, [window("c1", 0, 3 * S, 2)], series, deployment=name) for name, pair in pairs.items()]
    return summary_of(path, asked, *served)


def test_the_engines_hit_ratio_and_what_reuse_gains(tmp_path: Path) -> None:
    (found,) = reused(tmp_path / "counted", counted=True).found[PREFIX_REUSE]
    (stage,) = found.stages
    assert (found.off, found.on, stage.hit_ratio) == ("off-int8", "on-int8", pytest.approx(2 * 16 / 60))
    (silent,) = reused(tmp_path / "silent", counted=False).found[PREFIX_REUSE]
    assert silent.stages[0].hit_ratio is None
    assert reused(tmp_path / "apart", counted=True, shared=False).found[PREFIX_REUSE] == ()
