"""A run of an encoder with planted truth: what analysis finds, and what it must not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.records import MS, columns, request_of, samples_of
from tests.support.runs.encoder_run import (
    BASE_MS,
    DELAYS_MS,
    EACH_MS,
    INPUT_TOKENS,
    LAG_NS,
    QUEUE_MS,
    REJECTED,
    ROUNDS,
    SINGLES,
    batch_ms,
    write_encoder_run,
)
from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.stage.batching import padding_ratio
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.summary import Summary, summarise
from trtbench.experiments.grid.frontier import FRONTIERS

pytestmark = pytest.mark.whole_run


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    return summarise(write_encoder_run(tmp_path_factory.mktemp("encoder") / "run"))


def stage_of(summary: Summary, deployment: str, name: str) -> StageResult:
    result = next(result for result in summary.deployments if result.name == deployment)
    stage = result.stage(name)
    assert stage
    return stage


@pytest.mark.parametrize("cell", DELAYS_MS)
@pytest.mark.parametrize("users", ROUNDS)
def test_rates_and_latencies(encoder: Summary, cell: str, users: int) -> None:
    stage = stage_of(encoder, f"{cell}-r1-fp16", f"c{users}")
    per_s = 1000 * users / batch_ms(users, cell)
    assert stage.throughput.request_throughput == pytest.approx(per_s)
    assert stage.throughput.input_token_throughput == pytest.approx(per_s * INPUT_TOKENS)
    assert stage.throughput.output_token_throughput is None
    assert stage.latency.e2e_latency_ns.p50 == batch_ms(users, cell) * MS
    assert stage.latency.e2e_latency_ns.p99 == (batch_ms(users, cell) * MS if users == 8 else None)
    assert stage.latency.e2e_latency_from_sent_ns.p50 == batch_ms(users, cell) * MS - MS // 10
    assert len(set(stage.latency.e2e_curve_ns)) == 1
    for name in ("ttft_ns", "itl_ns", "tpot_ns", "server_queue_ns"):
        assert getattr(stage.latency, name).count == 0
    assert not stage.latency.ttft_curve_ns and stage.wrong_length == 0 and stage.kv_cache is None and stage.inflight is None


@pytest.mark.parametrize("cell", DELAYS_MS)
@pytest.mark.parametrize("users", ROUNDS)
def test_tritons_batcher(encoder: Summary, cell: str, users: int) -> None:
    batch = stage_of(encoder, f"{cell}-r2-fp16", f"c{users}").triton_batching
    assert batch
    assert batch.histogram == {users: ROUNDS[users]}
    assert (batch.batch_hit_ratio, batch.mean_batch, batch.fill_ratio) == (float(users > 1), users, users / 8)
    assert (batch.queue_mean_ns, batch.compute_mean_ns) == (QUEUE_MS[cell] * MS, batch_ms(users, cell) * MS)


@pytest.mark.parametrize("users", ROUNDS)
def test_padding(encoder: Summary, users: int) -> None:
    """(users - 1) / 8 of a token of padding were planted for each that was asked."""
    padding = (users - 1) / 8
    assert stage_of(encoder, "d0-r1-fp16", f"c{users}").padding_ratio == pytest.approx(padding / (1 + padding))


def test_padding_by_the_client() -> None:
    lengths = [request_of(0, [], input_tokens=n) for n in (10, 30)]
    assert padding_ratio(samples_of({}), 0, 1, columns(lengths), 40) == 0.5
    assert padding_ratio(samples_of({}), 0, 1, columns(lengths), None) is None
    assert padding_ratio(samples_of({}), 0, 1, columns([]), 40) is None


def test_stamps_of_answers(encoder: Summary) -> None:
    stage = stage_of(encoder, "d0-r1-fp16", "constant-10")
    assert (stage.stamps.responses, stage.stamps.kernel_ratio, stage.stamps.lag_p99_ns) == (SINGLES, 1.0, LAG_NS)
    assert stage.conservation.failed_by_class == {"rejected": REJECTED} and stage.conservation.holds
    assert stage.backlog_grew is None  # 10 in a quarter are too few


def findings_of(summary: Summary, deployment: str) -> dict[str, str]:
    return {finding.code: finding.stage for finding in summary.findings if finding.deployment == deployment}


def test_findings(encoder: Summary) -> None:
    """Requests queue for longer than they are computed where that was planted, at 1 user first; nothing speaks of tokens."""
    assert findings_of(encoder, "d5000-r1-fp16").keys() == {"queue_bound", "one_instance", "no_knee", "errors_rejected"}
    assert findings_of(encoder, "d5000-r1-fp16")["queue_bound"] == "c1"
    assert findings_of(encoder, "d0-r1-fp16").keys() == {"no_knee", "errors_rejected"}
    (growth,) = {f.figures["top_requests_per_s"] for f in encoder.findings if f.code == "no_knee" and f.deployment == "d0-r1-fp16"}
    assert growth == pytest.approx(8000 / (BASE_MS + 8 * EACH_MS))
    assert not any("tokens" in name for finding in encoder.findings for name in finding.figures)


def test_the_verdict_speaks_of_no_tokens(encoder: Summary) -> None:
    """The load was sent on time beside the latency of an answer; only the P99s that are withheld are noted."""
    assert {reason.code for reason in encoder.verdict.reasons} == {"few_for_p99"}
    assert encoder.verdict.status == "VALID"


def test_a_late_client_is_doubted(encoder: Summary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.support.runs.encoder_run.LAG_NS", 30 * MS)
    monkeypatch.setattr("tests.support.runs.encoder_run.ROUNDS", {1: 40})
    summary = summarise(write_encoder_run(tmp_path / "run"))
    late = [reason for reason in summary.verdict.reasons if reason.code == "stamp_lag"]
    assert late and {reason.figures["lag_p99_ns"] for reason in late} == {30 * MS}


def test_the_grid_goes_by_requests_and_latency(encoder: Summary) -> None:
    frontier = next(found for found in encoder.found[FRONTIERS] if found.stage == "c8")
    best, other = frontier.cells
    assert frontier.percentiles["e2e_latency_ns"] == "p99"
    assert best.output_token_throughput is None and best.ttft_ns is None
    assert best.rate and best.e2e_latency_ns
    assert (best.rate.mean, best.e2e_latency_ns.mean) == (pytest.approx(8000 / 60), 60 * MS)
    assert (best.pareto, other.pareto) == (("e2e_latency_ns",), ())
    assert (best.compute_ns, best.padding_ratio) == (60 * MS, pytest.approx(7 / 15))
    assert frontier.winner
    assert (frontier.winner.cell, frontier.winner.figure, frontier.winner.clear) == ("d0", "request_throughput", True)
    assert frontier.winner.margin_ratio == pytest.approx(65 / 60 - 1)


def test_the_grid_goes_by_goodput_with_an_slo(tmp_path: Path) -> None:
    """62 ms: 8 users keep it without a delay only."""
    summary = summarise(write_encoder_run(tmp_path / "run", slo=True))
    frontier = next(found for found in summary.found[FRONTIERS] if found.stage == "c8")
    assert frontier.winner and (frontier.winner.cell, frontier.winner.figure) == ("d0", "goodput")
    assert [cell.within_slo_ratio for cell in frontier.cells] == [1.0, 0.0]


def test_two_results_are_one_deployment_each(encoder: Summary) -> None:
    results: tuple[DeploymentResult, ...] = encoder.deployments
    assert len(results) == 4 and all(result.knee and result.knee.level is None for result in results)
