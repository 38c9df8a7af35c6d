"""Each rule fires on its signs, and not without them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.support.finding_rules import Change, found, level, resources, same
from tests.support.runs.synthetic_run import write_synthetic_run
from trtbench.analysis.stage.resources import GpuUse
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stage.workers import Worker
from trtbench.analysis.stats.trends import Drift
from trtbench.analysis.stats.window import Level
from trtbench.analysis.summary import Summary, summarise
from trtbench.analysis.verdict.findings.rules import deployment_findings
from trtbench.rundir.event_kinds import ServerLost
from trtbench.rundir.records import Event
from trtbench.rundir.traits import Traits


def test_cpu_threads_full_only_where_they_are_the_engines(summary: Summary) -> None:
    assert "cpu_saturated" in found(summary, same)
    assert "cpu_saturated" not in found(summary, resources(server_cpu_cores=level(0.89)))
    assert "cpu_saturated" not in found(summary, same, inference_threads=2)
    assert "cpu_saturated" not in found(summary, same, traits=Traits(uses_gpus=True))


@pytest.mark.parametrize(("use", "expected"), [(0.9, True), (0.89, False)])
def test_gpu_full(summary: Summary, use: float, expected: bool) -> None:
    gpu = GpuUse(level(use), None, None, None, None, None, {})
    assert ("gpu_saturated" in found(summary, resources(gpus={"0": gpu}))) is expected


def test_kv_near_full_and_sequences_bound_exclude_each_other(summary: Summary) -> None:
    def with_kv(peak: float) -> Change:
        def change(stage: StageResult) -> StageResult:
            assert stage.kv_cache and stage.inflight
            inflight = replace(stage.inflight, running=Level(3.9, 2, 4), waiting=level(3))
            return replace(stage, kv_cache=replace(stage.kv_cache, used_ratio_peak=peak), inflight=inflight)

        return change

    full, roomy = found(summary, with_kv(0.95), max_sequences=4), found(summary, with_kv(0.5), max_sequences=4)
    assert "kv_near_full" in full and "sequences_bound" not in full
    assert "sequences_bound" in roomy and "kv_near_full" not in roomy
    assert "sequences_bound" not in found(summary, with_kv(0.5), max_sequences=32)
    assert full["kv_near_full"].figures["peak_ratio"] == 0.95 and full["kv_near_full"].limits


def test_a_kv_cache_made_for_every_sequence_limits_nothing(summary: Summary) -> None:
    def full(stage: StageResult) -> StageResult:
        assert stage.kv_cache and stage.inflight
        inflight = replace(stage.inflight, running=Level(1, 1, 1), waiting=level(6))
        return replace(stage, kv_cache=replace(stage.kv_cache, used_ratio_peak=1.0), inflight=inflight)

    own = {"mode": "own", "provider": "openvino", "max_sequences": 1, "config": {"kv_cache": {}}}
    by_sequences, by_blocks = (found(summary, full, kv_sized=sized, **own) for sized in (False, True))
    assert "sequences_bound" in by_sequences and "kv_near_full" not in by_sequences
    assert "kv_near_full" in by_blocks and "sequences_bound" not in by_blocks


def test_never_batches_is_for_a_batcher_that_is_on_and_counted(summary: Summary) -> None:
    def lonely(stage: StageResult) -> StageResult:
        assert stage.triton_batching
        return replace(stage, triton_batching=replace(stage.triton_batching, batch_hit_ratio=0.0))

    def alone(stage: StageResult) -> StageResult:
        return replace(lonely(stage), inflight=None)

    assert found(summary, alone)["never_batches"].stage == "c8"
    assert "never_batches" not in found(summary, same)
    assert "never_batches" not in found(summary, alone, dynamic_batching=None)
    assert "never_batches" not in found(summary, alone, traits=Traits(triton_batches_are_one=True))
    assert "never_batches" not in found(summary, alone, max_batch_size=1), "nothing can be batched"


def test_rate_not_kept_needs_both_signs(summary: Summary) -> None:
    def behind(rate: float, grew: bool | None) -> Change:
        return lambda stage: replace(
            stage, backlog_grew=grew, throughput=replace(stage.throughput, request_throughput=rate, offered_rate=2.0)
        )

    assert found(summary, behind(1.0, True))["rate_not_kept"].stage == "poisson-2"
    assert "rate_not_kept" not in found(summary, behind(1.0, False))
    assert "rate_not_kept" not in found(summary, behind(1.0, None))
    assert "rate_not_kept" not in found(summary, behind(1.9, True))
    assert "rate_not_kept" not in found(summary, lambda stage: replace(behind(1.0, True)(stage), ramp_from=0.5)), "a ramp asks ever more"


def test_client_bound(summary: Summary) -> None:
    busy = Worker(level(0.97), None, None, None)
    finding = found(summary, resources(client_workers={"0": Worker(level(0.5), None, None, None), "1": busy}))["client_bound"]
    assert (finding.severity, finding.figures["worker"]) == ("critical", "1")
    assert "client_bound" not in found(summary, same)


def test_errors_are_graded_by_their_worst_stage(summary: Summary) -> None:
    def failing(stage: StageResult) -> StageResult:
        return replace(stage, conservation=replace(stage.conservation, failed_by_class={"out_of_memory": 30}))

    finding = found(summary, failing)["errors_out_of_memory"]
    assert (finding.stage, finding.severity, finding.figures["planned"]) == ("c1", "critical", 40)
    assert found(summary, same)["errors_rejected"].severity == "warning"


@pytest.mark.parametrize(("growth", "late", "expected"), [(0.2, 90.0, True), (0.2, 10.0, False), (0.04, 90.0, False), (-0.2, -90.0, False)])
def test_creep_is_growth_that_goes_on(summary: Summary, growth: float, late: float, expected: bool) -> None:
    creeping = Drift(100.0 if growth > 0 else -100.0, late, 1e9, 3600.0, growth)
    seen = found(summary, lambda stage: replace(stage, drifts={"server_rss_bytes": creeping, "server_fds": creeping}))
    assert ("creep_bytes" in seen) is ("creep_count" in seen) is expected


def test_slo_names_the_stages_that_kept_it(summary: Summary) -> None:
    def judged(stage: StageResult) -> StageResult:
        return replace(stage, throughput=replace(stage.throughput, goodput_ratio=0.5 if stage.span.name == "c8" else 1.0))

    finding = found(summary, judged)["slo_missed"]
    assert (finding.stage, finding.figures["kept"], finding.figures["count"]) == ("c8", "c1, c4, poisson-2", 1)


def test_batch_means_left_and_lost_server(summary: Summary) -> None:
    result = replace(summary.deployments[0], kv_blocks_left=3, server_lost=ServerLost(exit_code=-9, cause="killed"))
    codes = {finding.code: finding for finding in deployment_findings(result, summary.scenario, 2)}
    assert codes["kv_blocks_leaked"].figures["blocks"] == 3
    assert codes["server_lost"].figures == {"exit_code": "-9", "cause": "killed"}


@pytest.mark.whole_run
def test_a_fault_of_a_server_that_stayed_up(tmp_path: Path) -> None:
    """Planted on one of two deployments, found there alone."""
    run = write_synthetic_run(tmp_path / "run").run
    run.append_event(Event(1, "server_fault", "default-int8", {"cause": "GPU memory ran out; lower it."}))
    faults = [finding for finding in summarise(run).findings if finding.code == "server_fault"]
    assert [(one.deployment, one.severity, one.figures) for one in faults] == [
        ("default-int8", "critical", {"cause": "GPU memory ran out; lower it."})
    ]


def test_no_finding_is_without_figures(summary: Summary) -> None:
    assert all(finding.figures for finding in summary.findings)


def test_streams_that_were_ended_while_their_connections_stood_point_to_a_proxy(summary: Summary) -> None:
    def reset(message: str) -> Callable[[StageResult], StageResult]:
        said = {"failed_by_class": {"connection": 4}, "messages": {"connection": message}}
        return lambda stage: replace(stage, conservation=replace(stage.conservation, **said))

    told = found(summary, reset("RST_STREAM with INTERNAL_ERROR (of a stream that had served … requests before)"))["errors_proxy"]
    assert told.figures["class"] == "connection" and told.figures["count"] == 4
    assert "errors_connection" in found(summary, reset("connection reset by peer"))
