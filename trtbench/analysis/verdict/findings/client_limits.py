"""Findings on the load generator, and on answers that do not come as a stream of new tokens."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stage.workers import busiest
from trtbench.analysis.verdict.client_validity import CLIENT_CORES_SUSPECT
from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.findings.rule import Case
from trtbench.tasks.registry import TASKS

_WHOLE_ANSWER_RATIO = 0.95
_LEAST_TOKENS = 8
"""Output tokens of a request from which an answer in one response differs from a short stream."""


def client_bound(case: Case, stage: StageResult) -> Finding | None:
    """A worker of the load generator used over 0.85 cores on average."""
    found, lag = busiest(stage.resources.client_workers), stage.resources.client_loop_lag_ns
    if found is None or found[1] <= CLIENT_CORES_SUSPECT:
        return None
    figures: dict[str, float | str] = {"client_cpu_cores": found[1], "worker": found[0] or "0", "loop_lag_ns": lag.max if lag else "-"}
    return Finding("client_bound", "critical", limits=True, figures=figures)


def prompt_echoed(case: Case) -> Iterator[Finding]:
    """Answers began with their own prompt, whose tokens trtbench left out of every figure."""
    if case.result.echoed:
        planned = sum(stage.conservation.planned for stage in case.result.stages)
        yield Finding("prompt_echoed", "info", case.result.name, figures={"count": case.result.echoed, "planned": planned})


def streaming_off(case: Case, stage: StageResult) -> Finding | None:
    """The mean TTFT of answers of 8 tokens or more is 95 % of their latency or more: they come in one response."""
    first, whole, tokens = stage.latency.ttft_ns.mean, stage.latency.e2e_latency_ns.mean, stage.output_tokens.mean
    if not TASKS[case.scenario.task].streams_tokens or not first or not whole or not tokens or tokens < _LEAST_TOKENS:
        return None
    if stage.latency.itl_ns.count or first < _WHOLE_ANSWER_RATIO * whole:
        return None
    return Finding("streaming_off", "info", figures={"ttft_ns": first, "latency_ns": whole, "tokens": tokens})
