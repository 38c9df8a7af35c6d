"""A whole run directory of known truth, summarised."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.records import request_of
from tests.support.runs.facts import ENGINE_BYTES, KV_BLOCK_TOKENS
from tests.support.runs.synthetic_deployment import (
    BATCHES,
    CANCELLED_EVERY,
    COALESCED,
    COUNTS,
    KV_BLOCKS,
    KV_BYTES_PER_TOKEN,
    LAG_NS,
    OUTPUT_TOKENS,
    RSS_BYTES,
)
from tests.support.runs.synthetic_run import SyntheticRun, write_synthetic_run
from tests.support.runs.written_run import begin_run
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.summary import Summary, summarise
from trtbench.experiments.precision.comparison import COMPARISONS
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.lines import read_json
from trtbench.rundir.records import Event, Outcome
from trtbench.scenario.reading import parse_scenario

pytestmark = pytest.mark.whole_run

FORMAT_1 = Path(__file__).parents[1] / "fixtures" / "run-format-1"
PAIRS = [(d, s) for d in ("default-fp16", "default-int8") for s in COUNTS]


def stage_of(summary: Summary, deployment: str, stage: str) -> StageResult:
    found = next(result for result in summary.deployments if result.name == deployment).stage(stage)
    assert found is not None
    return found


@pytest.mark.parametrize(("deployment", "stage"), PAIRS)
def test_latency_and_throughput_are_those_written(synthetic: SyntheticRun, summary: Summary, deployment: str, stage: str) -> None:
    result, done = stage_of(summary, deployment, stage), synthetic.completed(deployment, stage)
    ttft = sorted(r.token_ns[0] - r.due_ns for r in done)
    e2e = sorted((r.done_ns or 0) - r.due_ns for r in done)
    assert result.latency.ttft_ns.p50 == ttft[-(-len(ttft) // 2) - 1]
    assert result.latency.e2e_latency_ns.max == e2e[-1]
    assert result.latency.e2e_latency_ns.p99 == (e2e[-(-99 * len(e2e) // 100) - 1] if len(e2e) >= 1000 else None)
    assert result.latency.itl_ns.count == len(done) * (OUTPUT_TOKENS - 1)
    measured = synthetic.measured(deployment, stage)
    window_s = (max(r.done_ns or 0 for r in measured) - min(r.due_ns for r in measured)) / 1e9
    assert result.throughput.request_throughput == pytest.approx(len(done) / window_s)
    assert result.throughput.output_token_throughput == pytest.approx(sum(r.output_tokens for r in measured) / window_s)
    assert result.wrong_length == 0


@pytest.mark.parametrize(("deployment", "stage"), PAIRS)
def test_batches_and_outcomes_are_those_written(synthetic: SyntheticRun, summary: Summary, deployment: str, stage: str) -> None:
    result = stage_of(summary, deployment, stage)
    batch, expected = result.triton_batching, BATCHES[stage]
    assert batch is not None and batch.histogram == expected
    inferences = sum(size * count for size, count in expected.items())
    assert batch.inferences == inferences and batch.executions == sum(expected.values())
    assert batch.batch_hit_ratio == pytest.approx(1 - expected[1] / inferences)
    e = result.conservation
    assert (e.planned, e.completed + e.failed + e.timed_out) == (COUNTS[stage], COUNTS[stage])
    assert (e.failed_by_class, e.timed_out) == (({"rejected": 3}, 1) if stage == "c8" else ({}, 0))


def test_kv_cache_peak_and_cost(summary: Summary) -> None:
    cache = stage_of(summary, "default-fp16", "c8").kv_cache
    assert cache is not None
    assert cache.used_ratio_peak == 8 * 5 / KV_BLOCKS
    assert cache.bytes_per_token_theory == KV_BYTES_PER_TOKEN
    full = 5 * KV_BLOCK_TOKENS / 129  # five blocks hold 129 tokens at the least
    assert cache.bytes_per_token_measured is not None
    assert KV_BYTES_PER_TOKEN * 5 * KV_BLOCK_TOKENS / 144 <= cache.bytes_per_token_measured <= KV_BYTES_PER_TOKEN * full
    assert all(result.kv_blocks_left == 0 for result in summary.deployments)


def test_knee_of_one_engine_and_none_of_the_other(summary: Summary) -> None:
    fp16, int8 = (result.knee for result in summary.deployments)
    assert fp16 is not None and fp16.level == 4
    assert int8 is not None and int8.level is None
    assert fp16.levels == (1, 4, 8), "the open loop is not on the closed loop's curve"


def test_precisions_side_by_side(synthetic: SyntheticRun, summary: Summary) -> None:
    (pair,) = summary.found[COMPARISONS]
    assert (pair.base, pair.other, pair.same_plan) == ("default-fp16", "default-int8", True)
    assert pair.engine_size_ratio == ENGINE_BYTES["int8"] / ENGINE_BYTES["fp16"]
    assert pair.rss_peak_ratio == RSS_BYTES["int8"] / RSS_BYTES["fp16"]
    prompts = [r.prompt for stage in COUNTS for r in synthetic.completed("default-fp16", stage)]
    diverging = sum(prompt % 4 == 0 for prompt in prompts)
    said = pair.agreement
    assert said is not None and said.prompts == len(prompts)
    assert said.identical_ratio == pytest.approx(1 - diverging / len(prompts))
    assert said.mean_prefix_ratio == pytest.approx(1 - 0.5 * diverging / len(prompts))


def test_verdict_and_findings(summary: Summary) -> None:
    assert summary.complete and summary.verdict.status == "VALID"
    assert [reason.code for reason in summary.verdict.reasons] == ["few_for_p99"]
    codes = {(finding.code, finding.deployment) for finding in summary.findings}
    assert ("knee", "default-fp16") in codes and ("no_knee", "default-int8") in codes
    assert {"cpu_saturated", "errors_rejected", "errors_timeout", "precision_faster", "agreement"} <= {code for code, _ in codes}
    assert summary.findings[0].severity != "info", "the worst comes first"


def test_summary_is_plain_json(summary: Summary) -> None:
    tree = json.loads(json.dumps(summary.to_json(), allow_nan=False))
    stage = tree["deployments"][0]["stages"][2]
    assert tree["summary_version"] == 2 and tree["verdict"]["status"] == "VALID"
    assert isinstance(stage["latency"]["ttft_ns"]["p99"], int)
    assert stage["triton_batching"]["histogram"]["8"] == BATCHES["c8"][8]
    assert tree["scenario"]["name"] == "synthetic" and tree["environment"]["cpu_count"] == 2


def contains(new: object, old: object, where: str = "") -> None:
    """Every figure of `old` is in `new`, and the same."""
    if isinstance(old, dict):
        assert isinstance(new, dict)
        for key, value in old.items():
            contains(new[key], value, f"{where}.{key}")
    elif isinstance(old, list):
        assert isinstance(new, list) and len(new) == len(old), where
        for at, pair in enumerate(zip(new, old, strict=True)):
            contains(*pair, f"{where}.{at}")
    else:
        assert new == (pytest.approx(old) if isinstance(old, float) else old), where


def test_a_run_of_format_1_reads_and_says_the_same() -> None:
    """Written, and summarised in its summary.json, by the last version that knew of no other format; its second engine was killed."""
    run = RunDirectory.open(FORMAT_1)
    old = read_json(FORMAT_1 / "summary.json")
    summary = summarise(run)
    contains(json.loads(json.dumps(summary.to_json())), old)
    assert [reason.code for reason in summary.verdict.reasons] == [reason["code"] for reason in old["verdict"]["reasons"]]
    assert {request.attempts for directory in run.deployments() for request in directory.requests()} == {0}


def test_what_is_known_of_the_client(synthetic: SyntheticRun, summary: Summary) -> None:
    c4, c8 = (stage_of(summary, "default-fp16", stage) for stage in ("c4", "c8"))
    assert c4.stamps.kernel_ratio == 1 and LAG_NS[0] <= (c4.stamps.lag_ns.p99 or 0) <= LAG_NS[1]
    assert c4.stamps.coalesced_ratio == len(COALESCED["c4"]) / OUTPUT_TOKENS
    gaps = COUNTS["c4"] * (OUTPUT_TOKENS - 1)
    assert c4.stamps.itl_exact_ns.count == gaps - 3 * COUNTS["c4"], "two ends, so three gaps a request"
    assert c4.stamps.itl_from_read_ns.count == gaps and c4.stamps.itl_from_read_ns.mean == pytest.approx(c4.latency.itl_ns.mean, abs=5e3)
    assert (c8.conservation.retries, c8.conservation.completed_by_retry) == (1, 1)
    assert (c8.stamps.coalesced_ratio, c8.stamps.itl_exact_ns.count) == (0, 0)
    (transport,) = summary.deployments[0].transports
    assert (transport.name, transport.stamps) == ("wire", "kernel")
    assert stage_of(summary, "default-fp16", "poisson-2").sending.rate_ratio == pytest.approx(1, abs=1e-4)


def test_a_mixed_workload_with_sessions_and_cancellations(tmp_path: Path) -> None:
    synthetic = write_synthetic_run(tmp_path / "run", mixed=True)
    stage = stage_of(summarise(RunDirectory.open(synthetic.run.path)), "default-fp16", "c4")
    records = synthetic.measured("default-fp16", "c4")
    cancelled = sum(record.outcome is Outcome.CANCELLED for record in records)
    assert cancelled == stage.conservation.cancelled_as_planned == COUNTS["c4"] // CANCELLED_EVERY
    assert stage.conservation.error_ratio == 0 and stage.throughput.goodput_ratio == 1
    assert {name: group.requests for name, group in stage.mixes.items()} == {"chat": 160, "search": 40}
    assert {name: group.completed for name, group in stage.turns.items()} == {"first": 80, "later": 80}


def test_killed_in_the_middle_of_a_stage(tmp_path: Path) -> None:
    synthetic = write_synthetic_run(tmp_path / "run", kill_in="c8")
    summary = summarise(RunDirectory.open(synthetic.run.path))
    assert not summary.complete and summary.verdict.status == "INVALID"
    assert {"incomplete", "broken_off", "not_run"} <= {reason.code for reason in summary.verdict.reasons}
    whole, broken = summary.deployments
    assert (whole.state, broken.state) == ("finished", "broken_off")
    stage = stage_of(summary, "default-int8", "c8")
    left = len(synthetic.measured("default-int8", "c8"))
    assert stage.span.ended == "broken_off"
    assert (stage.conservation.planned, stage.conservation.unrecorded) == (COUNTS["c8"], COUNTS["c8"] - left)
    assert stage.throughput.request_throughput is not None
    assert [stage.name for stage in broken.not_run] == ["poisson-2"]
    assert broken.knee is None, "a stage that was broken off is no point of the curve"


def test_different_plans_are_not_compared(tmp_path: Path) -> None:
    summary = summarise(RunDirectory.open(write_synthetic_run(tmp_path / "run", same_plan=False).run.path))
    (pair,) = summary.found[COMPARISONS]
    assert not pair.same_plan and pair.stages == () and pair.agreement is None
    assert summary.verdict.status == "SUSPECT"
    assert not any(finding.code.startswith(("precision", "agreement")) for finding in summary.findings)


def bare_run(path: Path, *events: Event, **workload: object) -> RunDirectory:
    scenario = parse_scenario({"name": "bare", "load": [{"concurrency": 1, "requests": 2}], "workload": workload}, "bare")
    run = begin_run(path, scenario)
    for event in events:
        run.append_event(event)
    return run


def test_a_server_that_never_came_up(tmp_path: Path) -> None:
    run = bare_run(
        tmp_path / "run",
        Event(2, "deployment_started", "default-fp16"),
        Event(3, "server_lost", "default-fp16", {"exit_code": None, "cause": "no such model"}),
        Event(4, "deployment_finished", "default-fp16", {"ended": "server_lost"}),
        Event(5, "run_finished"),
    )
    run.deployment("default-fp16")
    summary = summarise(run)
    (result,) = summary.deployments
    assert result.state == "never_ready" and result.stages == () and [s.name for s in result.not_run] == ["c1"]
    assert summary.verdict.status == "INVALID"
    (finding,) = summary.findings
    assert (finding.code, finding.figures["cause"]) == ("never_ready", "no such model")


def test_a_run_that_was_killed_before_any_deployment(tmp_path: Path) -> None:
    summary = summarise(bare_run(tmp_path / "run"))
    assert summary.deployments == () and summary.verdict.status == "INVALID"


def test_an_external_server_on_which_nothing_completed(tmp_path: Path) -> None:
    run = bare_run(
        tmp_path / "run",
        Event(2, "deployment_started", "external"),
        Event(3, "stage_started", "external", {"name": "c1", "mode": "concurrency", "asked": 1, "planned": 2}),
        Event(
            9,
            "stage_finished",
            "external",
            {"name": "c1", "mode": "concurrency", "asked": 1, "start_ns": 3, "end_ns": 9, "planned": 2, "ended": "done"},
        ),
        Event(10, "deployment_finished", "external"),
        Event(11, "run_finished"),
    )
    directory = run.deployment("external")
    directory.write_json("deployment.json", {"name": "external", "mode": "external", "model_name": "m", "config": None, "kv_blocks": None})
    lines = [request_of(4, [], Outcome.UNAVAILABLE, done_ns=5, error="unknown model").to_json() for _ in range(2)]
    directory.requests_jsonl().write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    summary = summarise(run)
    (result,) = summary.deployments
    (stage,) = result.stages
    assert stage.conservation.error_ratio == 1 and stage.conservation.failed_by_class == {"unavailable": 2}
    assert stage.latency.ttft_ns.count == 0 and stage.kv_cache is None and stage.triton_batching is None
    assert summary.verdict.status == "INVALID"
    assert [finding.code for finding in summary.findings] == ["errors_unavailable"]


def test_stages_given_up_are_not_run_and_their_requests_accounted_for(tmp_path: Path) -> None:
    run = bare_run(
        tmp_path / "run",
        Event(2, "deployment_started", "default-fp16"),
        Event(3, "server_ready", "default-fp16", {"seconds": 1.0}),
        Event(4, "interrupted", "default-fp16", {"level": 1}),
        Event(5, "load_stopped", "default-fp16", {"why": "interrupted", "stage": "c1", "stages_not_run": ["c1"]}),
        Event(6, "deployment_finished", "default-fp16"),
    )
    directory = run.deployment("default-fp16")
    lines = [request_of(4, [], Outcome.NEVER_SENT, sent_ns=None, done_ns=None).to_json() for _ in range(2)]
    directory.requests_jsonl().write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    (result,) = summarise(run).deployments
    (left,) = result.not_run
    assert result.stages == () and left.why == "interrupted"
    assert (left.conservation.planned, left.conservation.never_sent, left.conservation.holds) == (2, 2, True)
