"""Every language has every text, and every finding and reason that analysis can give has its words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest
import yaml

import trtbench.report
from tests.experiments.capacity.test_analysis import EVERY as EVERY_CAPACITY
from tests.support.finding_rules import every_planted
from tests.support.having import having, measured
from tests.support.records import columns
from tests.support.runs.synthetic_reloads import NO_SAMPLES, events, planned_reloads, requests
from trtbench.analysis.deployment_result import NotRun
from trtbench.analysis.found import Found
from trtbench.analysis.request_data import RequestData, input_reasons
from trtbench.analysis.stage.resources import THROTTLES, GpuUse, MigUse, Replica
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stage.token_counting import InputDifference, TokenCounting
from trtbench.analysis.stage.uncertainty import Uncertainty
from trtbench.analysis.stage.workers import Worker
from trtbench.analysis.stats.estimate import Estimate
from trtbench.analysis.stats.percentile import Distribution
from trtbench.analysis.stats.steadiness import Steadiness
from trtbench.analysis.stats.trends import Drift
from trtbench.analysis.stats.window import Level
from trtbench.analysis.summary import Summary
from trtbench.analysis.transport import Transport
from trtbench.analysis.verdict.client_validity import transport_reasons
from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.findings.rules import deployment_findings
from trtbench.analysis.verdict.gpu_health import GpuHealth, HeldGpu, clock_reasons, health_reasons, held_reasons, mig_reasons
from trtbench.analysis.verdict.validity import damage_reasons, reported_reasons, resume_reasons, run_reasons, sample_reasons, stage_reasons
from trtbench.analysis.verdict.verdict import Doubts, Reason
from trtbench.experiments.capacity.analysis import capacity_findings, capacity_reasons
from trtbench.experiments.capacity.capacity_found import CAPACITY
from trtbench.experiments.context_limit.analysis import limit_findings, limit_reasons
from trtbench.experiments.context_limit.context_limits import CONTEXT_LIMITS, ContextLimits, Limit, PredictedBy
from trtbench.experiments.context_limit.trials import FailureClass, MemoryShort, TrialResult
from trtbench.experiments.hot_reload.analysis import reload_findings, reload_reasons
from trtbench.experiments.hot_reload.reloads import RELOADS, Reloads, Rise, reloads
from trtbench.experiments.imported.analysis import IMPORTED
from trtbench.experiments.kv_cache.analysis import cancel_findings
from trtbench.experiments.kv_cache.cancellation import CANCELLATIONS, Cancellation
from trtbench.experiments.precision.analysis import precision_findings
from trtbench.experiments.precision.comparison import COMPARISONS, EmbeddingAgreement
from trtbench.experiments.repeats.analysis import REPEATS, RepeatedDeployment, RoundsSummary, repeat_reasons
from trtbench.experiments.repeats.spec import Repeats
from trtbench.experiments.response_cache.analysis import cache_findings, gain_findings
from trtbench.experiments.response_cache.cached_stage import CACHED_STAGES, CachedStage
from trtbench.experiments.response_cache.gain import CacheGain, StageGain
from trtbench.experiments.scaling.analysis import replica_findings, scaling_findings
from trtbench.experiments.scaling.limiter import Limiter, Usage
from trtbench.experiments.scaling.scaling_curve import ScalingCurve, ScalingPoint
from trtbench.report.kit.words import LANGUAGES, Words, texts_of
from trtbench.report.sections.sections import document
from trtbench.rundir.event_kinds import ServerLost
from trtbench.rundir.experiment_events import ResultsImported, StageWidth
from trtbench.rundir.lines import Loss, What
from trtbench.rundir.records import Event, Outcome
from trtbench.rundir.sessions import Resumption
from trtbench.scenario.parts.choices import Language
from trtbench.scenario.workload.lengths import Range
from trtbench.scenario.workload.request_kind import Dataset

PLACE = re.compile(r"\{(\w+)\}")
ERRORS = [outcome.value for outcome in Outcome if outcome.is_failure] + ["timeout"]


def test_the_languages_have_the_same_keys_and_figures() -> None:
    first, *others = (texts_of(language) for language in LANGUAGES)
    for other in others:
        assert set(first) == set(other)
        assert {key: sorted(set(PLACE.findall(text))) for key, text in first.items()} == {
            key: sorted(set(PLACE.findall(text))) for key, text in other.items()
        }


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_key_is_listed_twice(language: Language) -> None:
    """YAML would take the second in silence."""
    document = yaml.compose((Path(trtbench.report.__file__).parent / "texts" / f"{language}.yaml").read_text(encoding="utf-8"))
    twice = []
    nodes: list[yaml.Node] = [document] if document else []
    while nodes:
        node = nodes.pop()
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value]
            twice += [key for key in keys if keys.count(key) > 1]
            nodes += [value for _, value in node.value]
    assert twice == []


def test_chinese_is_chinese() -> None:
    texts = {key: text for key, text in texts_of("en").items() if not key.startswith("value_of.")}  # which names other keys
    same = {key for key, text in texts.items() if texts_of("zh")[key] == text and len(PLACE.sub("", text)) > 12}
    assert not same


def test_a_missing_figure_is_an_error_and_no_empty_place() -> None:
    with pytest.raises(KeyError):
        Words("en")("reason.few_samples", completed=1)
    with pytest.raises(KeyError):
        Words("en")("no.such.key")


def test_a_figure_with_braces_is_text() -> None:
    assert "{planned}" in Words("en").finding(
        "errors_other", "seen", {"count": 1, "planned": 2, "share_ratio": 0.5, "message": "{planned}"}
    )


HIGH = Level(1e9, 1e9, 1e9)
THROTTLED = dict.fromkeys(THROTTLES, 0.5)
BUSY = {"1": Worker(HIGH, HIGH, 1e9, HIGH)}


BAD_TRIAL = TrialResult(1, 99, "extreme", False, "other", "?", None, None, None, None, healthy=False, blocks_left=1)
BAD_LIMITS = ContextLimits("low_memory", 8, 32, 4096, "positions", (Limit(1, 64, 99, "other", "?", 1, 1, 64),), (BAD_TRIAL,), 1.0)


def bad_reloads() -> Iterator[Reloads]:
    found = reloads(events(), columns(requests()), NO_SAMPLES)
    assert found
    first, *others = found.reloads
    leaks: dict[str, Rise | None] = {"server_rss_bytes": Rise(5e6, 1e6, 6, 1e8), "server_fds": Rise(2.0, 0.5, 6, 40.0)}
    yield replace(found, rises=leaks, reloads=(replace(first, recovery_ns=None, failed={"unavailable": 3}),))
    yield replace(found, reloads=(replace(first, kind="unload_load", failed={"unavailable": 3}, loaded=False, served_on=()),))
    yield replace(found, reloads=(replace(first, kind="broken", before=None), *others))
    yield replace(found, reloads=(replace(first, error="still served"), *others))


def bad_rounds(summary: Summary) -> Iterator[Reason]:
    until = {"metric": "ttft.p99", "relative_width": 0.05}
    asked = summary.scenario.model_copy(update={"repeats": Repeats.model_validate({"most": 5, "until": until})})
    lone = RepeatedDeployment("default", "fp16", ("default-r1-fp16",), ("default-r2-fp16",), ())
    wide = StageWidth(deployment="default-fp16", stage="c1", mean=1.0, relative_width=0.1)
    run = replace(measured(summary, []), scenario=asked)
    yield from repeat_reasons(run, Found().put(REPEATS, RoundsSummary((lone,), wide, stopped=False)))


ONE = Estimate(1.0, 0.1, 3)


def bad_caches() -> Iterator[CachedStage]:
    """One that forgets, one that knows what this run never asked before; both answer next to nothing."""
    none = Distribution.of([])
    yield CachedStage("c4", 900, 1, 890, 0.001, 5, 20, 900, 200, 200, none, none, 40, 9, 1.0)
    yield CachedStage("c8", 900, 9, 890, 0.01, 5, 20, 900, 0, 0, none, none, 0, 9, 1.0)


def every_finding(summary: Summary) -> Iterator[Finding]:
    """All rules, on a deployment where all that can go wrong does."""
    result = summary.deployments[1]
    high = Level(5.0, 5.0, 5.0)
    gpu = GpuUse(high, high, high, high, high, 1.0, THROTTLED)
    creep = Drift(100.0, 90.0, 1e9, 3600.0, 0.2)
    c1, c4, c8, poisson = result.stages
    assert c1.kv_cache and c1.inflight and c8.triton_batching
    failed = replace(c1.conservation, failed_by_class=dict.fromkeys(ERRORS[:-1], 1), timed_out=1)
    c1 = replace(
        c1, conservation=failed, kv_cache=replace(c1.kv_cache, used_ratio_peak=1.0), resources=replace(c1.resources, gpus={"0": gpu})
    )
    c4 = replace(c4, inflight=replace(c1.inflight, running=high, waiting=high), drifts={"server_rss_bytes": creep, "server_fds": creep})
    c8 = replace(c8, triton_batching=replace(c8.triton_batching, batch_hit_ratio=0.0, queue_mean_ns=2, compute_mean_ns=1))
    c8 = replace(c8, resources=replace(c8.resources, client_workers=BUSY), throughput=replace(c8.throughput, goodput_ratio=0.1))
    poisson = replace(poisson, backlog_grew=True, throughput=replace(poisson.throughput, request_throughput=1.0))
    facts = replace(result.facts, max_sequences=4)
    worst = replace(
        result, stages=(c1, c4, c8, poisson), facts=facts, kv_blocks_left=1, server_lost=ServerLost(exit_code=-9, cause="killed")
    )
    worst = having(worst, {CANCELLATIONS: (Cancellation("c8", 4, 28, None, 32, 3, None, 3),)})
    worst = replace(worst, server_fault="GPU memory ran out")
    yield from cancel_findings(worst, summary.scenario)
    reset = replace(failed, failed_by_class={"connection": 1}, messages={"connection": "RST_STREAM with INTERNAL_ERROR"})
    yield from deployment_findings(replace(worst, stages=(replace(c1, conservation=reset),)), summary.scenario, 2)
    for deployment in (worst, replace(worst, state="never_ready"), replace(worst, knee=summary.deployments[0].knee)):
        yield from deployment_findings(deployment, summary.scenario, 2)
    behind = replace(failed, failed_by_class={"connection": 1}, messages={"connection": "HTTP status 413 of a proxy"})
    yield from deployment_findings(replace(worst, stages=(replace(c1, conservation=behind),)), summary.scenario, 2)
    yield from every_planted(summary)
    yield from limit_findings(having(worst, {CONTEXT_LIMITS: BAD_LIMITS}), summary.scenario)
    for capacity in EVERY_CAPACITY:
        yield from capacity_findings(having(worst, {CAPACITY: capacity}), summary.scenario)
    for failure in get_args(FailureClass):
        for rule in get_args(PredictedBy):
            for theory in (64, 4096):  # where the limit is, and elsewhere
                limit = Limit(1, 64, 99, failure, "?", 1, 0, 64)
                found = replace(BAD_LIMITS, limits=(limit,), predicted_by=rule, predicted_tokens=theory)
                yield from limit_findings(having(worst, {CONTEXT_LIMITS: found}), summary.scenario)
    for found in bad_reloads():
        yield from reload_findings(having(worst, {RELOADS: found}), planned_reloads())
    uneven = replace(c8, resources=replace(c8.resources, replicas=(Replica(900, None, None), Replica(100, None, None))))
    yield from replica_findings(replace(worst, stages=(uneven,)), summary.scenario)
    yield from cache_findings(having(worst, {CACHED_STAGES: tuple(bad_caches())}), summary.scenario)
    slower = StageGain("c8", True, 8, 0.0, 0.0, 0.0, ONE, ONE, Estimate(0.5, 0.1, 3), None, None, None, None)
    yield from gain_findings(CacheGain("off", "on", "int8", (slower,)))
    one = Estimate(0.5, None, 1)
    usage = Usage(*[None] * 11, at_limit=False, disturbed=False)
    bend = ScalingPoint("servers-2", 2, 1, True, 4, one, one, one, one, one, one, (), usage)
    curve = ScalingCurve("servers", "c4", "int8", "p50", (bend, bend), 0.8, bend, None, (), None, None, None, "client", None)
    for limiter in get_args(Limiter):
        yield from scaling_findings(replace(curve, limiters=(limiter,)))
    (pair,) = summary.found[COMPARISONS]
    assert pair.agreement
    for factor, prefix in ((0.5, 0.1), (1.0, 0.9), (2.0, 0.9)):
        stages = tuple(replace(stage, output_token_throughput=factor) for stage in pair.stages)
        yield from precision_findings(
            replace(
                pair,
                stages=stages,
                agreement=replace(pair.agreement, mean_prefix_ratio=prefix),
                embeddings=EmbeddingAgreement(20, prefix + 0.1, prefix),
            )
        )


def every_reason(summary: Summary) -> Iterator[Reason]:
    result = summary.deployments[0]
    stage = result.stages[0]
    gpu = GpuUse(None, None, None, None, None, None, THROTTLED)
    use = replace(stage.resources, client_workers=BUSY, gpus={"0": gpu})
    sending = replace(stage.sending, lag_p99_ns=10**10, rate_ratio=0.5)
    for ended in ("server_lost", "broken_off", "error_bound", "done"):
        lost = replace(stage.conservation, unrecorded=1)
        worst = replace(
            stage,
            span=replace(stage.span, ended=ended),
            conservation=lost,
            wrong_length=1,
            resources=use,
            foreign_cpu_cores=1.0,
            level_reached=0.5,
        )
        for share in (0.0, 1.0):
            stamps = replace(stage.stamps, lag_p99_ns=10**10, coalesced_ratio=share)
            yield from stage_reasons(result, replace(worst, sending=sending, stamps=stamps), summary.scenario, 2)
    empty = replace(stage.conservation, failed_by_class={"empty": 1})
    ended = replace(stage, conservation=empty, wrong_length=2, over_length=1, estimated_off=1)
    for ignore_eos in (True, False):
        workload = summary.scenario.workload.model_copy(update={"ignore_eos": ignore_eos})
        yield from stage_reasons(result, ended, summary.scenario.model_copy(update={"workload": workload}), 2)
    bounded = tuple(one.model_copy(update={"max_in_flight": 8, "name": stage.span.name}) for one in summary.scenario.load)
    waited = replace(stage.sending, waited=3, wait_mean_ns=10.0**9, wait_max_ns=10**9)
    for sending in (stage.sending, waited):
        held_back = replace(stage, level_reached=0.1, sending=sending)
        yield from stage_reasons(result, held_back, summary.scenario.model_copy(update={"load": bounded}), 2)
    warmed = Steadiness("warm_up", 0.5, 0.4, 0.6, 0.2)
    for course in (warmed, replace(warmed, kind="step", at=0.7), Steadiness("trend", -0.2, -0.3, -0.1)):
        yield from stage_reasons(result, replace(stage, uncertainty=Uncertainty(steadiness=course)), summary.scenario, 2)
    yield from damage_reasons([Loss(f"{result.name}/requests.parquet", what, 3, "?") for what in get_args(What)], complete=True)
    paced = {"paced_reads": 2, "paced_reads_crowded": 1, "paced_end_lag_p99_ns": 2 * 10**6}
    told = Transport("wire", "uvloop", "user", "refused", 1, 0, 0, 1, 1.0, 0, **paced)
    for steps in (0, 1):
        yield from transport_reasons(replace(result, transports=(replace(told, clock_steps=steps, resent=steps),)))
    few = replace(stage.latency, e2e_latency_ns=replace(stage.latency.e2e_latency_ns, count=1, p99=None))
    yield from sample_reasons([replace(result, stages=(replace(stage, latency=few),))])
    unplanned = [replace(pair, same_plan=False) for pair in summary.found[COMPARISONS]]
    never = replace(result, stages=(), state="never_ready")
    imported = ResultsImported(tool="trtllm-bench", file="report.json")
    yield from run_reasons(False, measured(summary, [never]), having(summary, {COMPARISONS: unplanned, IMPORTED: imported}).found)
    yield from run_reasons(False, measured(summary, [never], interrupted=True), having(summary, {COMPARISONS: ()}).found)
    yield from bad_rounds(summary)
    yield from limit_reasons("d", BAD_LIMITS)
    for capacity in EVERY_CAPACITY:
        yield from capacity_reasons("d", capacity)
    yield from resume_reasons([Resumption(60.0, ("default-fp16",))])
    for short in (MemoryShort("machine", 2, 1), MemoryShort("cgroup", 2, 1)):
        yield from limit_reasons("d", replace(BAD_LIMITS, trials=(replace(BAD_TRIAL, memory=short),)))
    for found in bad_reloads():
        yield from reload_reasons(having(result, {RELOADS: found}), planned_reloads())
    yield from run_reasons(True, measured(summary, [replace(result, not_run=(NotRun("c9", "", stage.conservation),))]), summary.found)
    yield from gpu_reasons(worst)
    silent = {"family": "llmapi", "token_counts": None, "input_counts": "tokenizer", "forces_length": False}
    tight = replace(
        result, facts=replace(result.facts, tokens=silent), echoed=1, stale_pages=1, missing_metrics=("nv_trt_llm_x",), tokens_beyond_ours=3
    )
    tight = replace(tight, counting=TokenCounting(by_length=1, estimated=1, unknown=1, compared=1, error_ratio=0.02, uncertain_ratio=0.02))
    for reads in (False, True):
        yield from reported_reasons(replace(tight, reads_metrics=reads), summary.scenario)
    yield from reported_reasons(
        replace(tight, page_fault="OSError: 404", counting=TokenCounting(input_difference=InputDifference(1, 2, -1, 3))), summary.scenario
    )
    kind = summary.scenario.workload.model_copy(update={"dataset": Dataset(path=Path("d.json")), "input_tokens": Range(min=7, max=7)})
    asked = summary.scenario.model_copy(update={"workload": kind})
    yield from input_reasons([RequestData("d.json", 100, left_out) for left_out in (5, 50)], asked)


def gpu_reasons(stage: StageResult) -> Iterator[Reason]:
    slow = GpuUse(None, None, None, Level(1000.0, 900.0, 1100.0), None, None, {})
    held = HeldGpu("0", {"sm_clock_mhz": 1410}, {"sm_clock_mhz": None}, None, put_back=False)
    yield from held_reasons([held])
    yield from clock_reasons("d", replace(stage, resources=replace(stage.resources, gpus={"0": slow})), [held])
    failing = {"sources": {"gpu_errors": {"readings": 0, "failures": 3, "last_error": "not supported"}}}
    events = [
        Event(0, "gpu_busy", "d", {"stage": "c1", "gpu": "GPU 0", "processes": [{"pid": 7, "name": None, "memory_bytes": None}]}),
        Event(0, "gpu_cooled", "d", {"stage": "c1", "temperature_c": None, "asked_c": 50, "waited_s": 1.0, "reached": False}),
        Event(1, "stage_started", "d", {"name": "c1", "mode": "concurrency", "asked": 1}),
        Event(0, "telemetry_finished", "d", failing),
    ]
    yield from health_reasons("d", {"0": GpuHealth((79,), 1, True, 1)}, events)
    instances = {"MIG-1": MigUse(Level(1.0, 1.0, 1.0), 2.0)}
    yield from mig_reasons("d", [replace(stage, resources=replace(stage.resources, mig_instances=instances))])


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_finding_and_reason_can_be_said(summary: Summary, language: Language) -> None:
    findings, reasons = tuple(every_finding(summary)), tuple(every_reason(summary))
    worded = {key.split(".")[1] for key in texts_of(language) if key.startswith("finding.") and key.count(".") == 2}
    assert {finding.code for finding in findings} == worded - {"errors", "scaling", "starved", "step", "law"}
    assert {reason.code for reason in reasons} == {key.split(".")[1] for key in texts_of(language) if key.startswith("reason.")} - {"where"}
    content = document(replace(summary, findings=findings, verdict=replace(summary.verdict, reasons=reasons)), Words(language), ())
    assert len(content.reasons) == len(reasons)
    assert not PLACE.search(str(content))


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_doubt_of_a_stage_has_a_short_text(summary: Summary, language: Language) -> None:
    doubts = Doubts(every_reason(summary))
    places = [("default-fp16", "c1"), ("d", "c1")]
    codes = {doubt.code for doubt in doubts.about(places)}
    worded = {key.split(".")[1] for key in texts_of(language) if key.startswith("doubt.")}
    assert codes <= worded, "a reason that can doubt a stage needs a short text under `doubt`"
    assert worded - codes <= {"few_samples", "gpu_warm", "gpu_busy", "knee_moves", "rate_fell"} | codes
