"""The rules that derive findings from one deployment's figures, in the order in which the report lists those of one severity."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.verdict.finding import Finding
from trtbench.analysis.verdict.findings import (
    batcher_use,
    capacity_limits,
    client_limits,
    latency_steps,
    memory_limits,
    processors,
    queueing,
    request_errors,
    server_faults,
    system_laws,
)
from trtbench.analysis.verdict.findings.rule import Case, Rule, first_stage
from trtbench.scenario.scenario import Scenario

RULES: tuple[Rule, ...] = (
    Rule(("never_ready", "server_lost"), server_faults.lost_server),
    Rule(("errors_",), request_errors.failed_requests),
    Rule(("knee", "no_knee"), capacity_limits.knee),
    Rule(("user_peak",), system_laws.user_peak),
    Rule(("cpu_saturated",), first_stage(processors.cpu_saturated)),
    Rule(("gpu_saturated",), first_stage(processors.gpu_saturated)),
    Rule(("gpu_partly_used",), processors.gpu_partly_used),
    Rule(("starved_",), first_stage(processors.gpu_starved)),
    Rule(("gpu_throttled",), first_stage(processors.gpu_throttled)),
    Rule(("kv_near_full",), first_stage(memory_limits.kv_near_full)),
    Rule(("host_memory_short",), first_stage(memory_limits.host_memory_short)),
    Rule(("prefix_cache_cold",), memory_limits.prefix_cache_cold),
    Rule(("sequences_bound",), first_stage(queueing.sequences_bound)),
    Rule(("client_bound",), first_stage(client_limits.client_bound)),
    Rule(("prompt_echoed",), client_limits.prompt_echoed),
    Rule(("streaming_off",), first_stage(client_limits.streaming_off)),
    Rule(("never_batches", "batches_without_delay", "batcher_unused"), batcher_use.never_batches),
    Rule(("delay_too_long",), first_stage(batcher_use.delay_too_long)),
    Rule(("queue_bound",), first_stage(queueing.queue_bound)),
    Rule(("one_instance",), first_stage(queueing.one_instance)),
    Rule(("step_queue", "step_kv", "step_memory"), latency_steps.latency_step),
    Rule(("rate_not_kept",), first_stage(capacity_limits.rate_not_kept)),
    Rule(("slo_missed",), capacity_limits.slo_missed),
    Rule(("law_",), first_stage(system_laws.littles_law)),
    Rule(("creep_bytes", "creep_count", "creep_ns", "creep_ratio"), server_faults.creep),
    Rule(("server_fault",), server_faults.faulty_server),
    Rule(("kv_blocks_leaked",), server_faults.kept_blocks),
)


def deployment_findings(result: DeploymentResult, scenario: Scenario, cpu_count: int) -> Iterator[Finding]:
    """The findings of all rules about one deployment. A rule yields a finding only from figures that exist and are supported; a rule about
    stages yields one finding, of the first stage in which it holds or of the worst.
    """
    case = Case(result, scenario, cpu_count)
    for rule in RULES:
        yield from rule.find(case)
