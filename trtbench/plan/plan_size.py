"""The size of a plan, estimated from the scenario before anything is drawn; a plan that exceeds a bound is refused.

The sizes in bytes were measured on `Plan` (a prompt without its tokens, a token, a due instant) and rounded up.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from trtbench.plan.phases import rate_profile
from trtbench.plan.sources.trace import read_trace, trace_offsets
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.scenario import Scenario
from trtbench.scenario.workload.request_kind import RequestKind
from trtbench.scenario.workload.workload import Workload
from trtbench.system.memory import memory_bounds
from trtbench.tasks.registry import TASKS

MOST_PLANNED_REQUESTS = 100_000_000
"""The most requests of all stages together, warm-ups counted."""
MOST_PLANNED_TOKENS = 10_000_000_000
"""The most tokens in the prompts of all stages together."""
MOST_MEMORY_RATIO = 0.8
"""The share of the available memory for plans of the main process and of its workers."""

_PROMPT_BYTES, _TOKEN_BYTES, _DUE_BYTES, _KIND_BYTES = 1000, 5, 100, 150
_PROMPT_DISK_BYTES, _TOKEN_DISK_BYTES, _DUE_DISK_BYTES = 150, 6, 14
_LEAST_EXPECTED = 0.5
_DATASET_TOKENS = 1024  # a row's prompt, which is known only when it is drawn


@dataclass(frozen=True)
class PlanSize:
    """The size of one stage, or of several. `prompts` are those drawn, which a stage that ends by time uses repeatedly; `due` are the due
    instants of an open loop."""

    requests: int = 0
    prompts: int = 0
    prompt_tokens: int = 0
    due: int = 0
    memory_bytes: int = 0
    disk_bytes: int = 0

    def __add__(self, other: PlanSize) -> PlanSize:
        return PlanSize(*(getattr(self, name) + getattr(other, name) for name in PlanSize.__dataclass_fields__))


@dataclass(frozen=True)
class StageSize:
    """The size of a stage, and the key that determines it, with its value."""

    key: str
    size: PlanSize


def plan_size(scenario: Scenario, load: Iterable[Stage]) -> PlanSize:
    """The size of one plan. A scenario with `scaling` has a plan for each load."""
    return sum((stage.size for stage in _stages(scenario, load)), PlanSize())


def check_plan_size(scenario: Scenario, load: Iterable[Stage], available_bytes: int | None = None) -> PlanSize:
    """The size of the plan; ScenarioError, with the key of the largest stage and the bound, if it is too large for memory.

    `available_bytes`: by default what this machine and its container have available.
    """
    stages = list(_stages(scenario, load))
    whole = sum((stage.size for stage in stages), PlanSize())
    if available_bytes is None:
        available_bytes = min(bound.available_bytes for bound in memory_bounds())
    processes = 1 + (scenario.client.workers or 1)
    memory = int(MOST_MEMORY_RATIO * available_bytes) // processes
    bounds = (
        ("requests", "requests", MOST_PLANNED_REQUESTS, 1),
        ("prompt_tokens", "prompt tokens", MOST_PLANNED_TOKENS, 1),
        ("memory_bytes", f"MiB in memory, in each of {processes} processes", memory, 1 << 20),
    )
    for name, what, most, unit in bounds:
        found = getattr(whole, name)
        if found > most:
            key = max(stages, key=lambda stage: int(getattr(stage.size, name))).key
            remedy = "lower it" if name == "requests" else "lower it, or ask for shorter prompts (workload.input_tokens, workload.prefix)"
            raise ScenarioError(f"{key}: the plan would have {found // unit:,} {what}; the upper bound is {most // unit:,}: {remedy}")
    return whole


def check_requests(load: Iterable[Stage]) -> None:
    """ScenarioError for an open loop with less than half an expected request."""
    for number, stage in enumerate(load):
        open_loop = stage.mode not in ("concurrency", "trace")
        if open_loop and stage.duration_s is not None and _expected(stage, stage.duration_s) < _LEAST_EXPECTED:
            raise ScenarioError(
                f"load.{number}.duration_s = {stage.duration_s:g}: {stage.label} would send nothing: raise the rate, or let it last longer"
            )


def _stages(scenario: Scenario, load: Iterable[Stage]) -> Iterator[StageSize]:
    for number, stage in enumerate(load):
        if stage.trace is not None:
            yield _replayed(number, stage)
            continue
        due, prompts, key = _measured(number, stage, scenario.workload)
        requests = max(due, prompts) + stage.warmup_requests
        if stage.warmup_requests > max(due, prompts):
            key = f"load.{number}.warmup_requests = {stage.warmup_requests:,}"
        size, prefixes = _size(scenario, requests, prompts + stage.warmup_requests, due), _prefix_tokens(scenario.workload)
        yield StageSize(f"workload.prefix of {prefixes:,} tokens in all" if 2 * prefixes > size.prompt_tokens else key, size)


def _measured(number: int, stage: Stage, workload: Workload) -> tuple[int, int, str]:
    """(Due instants, prompts, the key that decides): instants are none of a closed loop."""
    where, closed = f"load.{number}", stage.mode == "concurrency"
    by_time = math.inf if stage.duration_s is None or closed else _most(_expected(stage, stage.duration_s))
    by_count = math.inf if stage.requests is None else stage.requests
    drawn = stage.requests or workload.distinct_prompts
    distinct = f"workload.distinct_prompts = {workload.distinct_prompts:,}"
    if closed:
        return 0, drawn, f"{where}.requests = {stage.requests:,}" if stage.requests else distinct
    due = int(min(by_time, by_count))
    key = f"{where}.requests = {stage.requests:,}" if by_count <= by_time else f"{where}.rate x {where}.duration_s = {due:,} requests"
    sessions = any(kind.sessions for kind in workload.kinds.values())
    return due, drawn if sessions else min(drawn, due), key


def _expected(stage: Stage, duration_s: float) -> float:
    """Requests of an open loop in the mean."""
    return stage.level * duration_s if stage.mode == "burst" else float(rate_profile(stage).expected(duration_s))


def _most(expected: float) -> float:
    """Four standard deviations of a Poisson process above the mean."""
    return expected + 4 * math.sqrt(expected) + 1


def _size(scenario: Scenario, requests: int, prompts: int, due: int) -> PlanSize:
    workload, tokens = scenario.workload, _tokens_of(scenario) * prompts
    prefixes = _prefix_tokens(workload)
    kinds = len(workload.kinds) * prompts * _KIND_BYTES
    return PlanSize(
        requests=requests,
        prompts=prompts,
        prompt_tokens=math.ceil(tokens) + prefixes,
        due=due,
        memory_bytes=prompts * _PROMPT_BYTES + (math.ceil(tokens) + prefixes) * _TOKEN_BYTES + due * _DUE_BYTES + kinds,
        disk_bytes=prompts * _PROMPT_DISK_BYTES + math.ceil(tokens) * _TOKEN_DISK_BYTES + due * _DUE_DISK_BYTES,
    )


def _prefix_tokens(workload: Workload) -> int:
    return sum(kind.prefix.groups * kind.prefix.tokens for kind in workload.kinds.values() if kind.prefix)


def _tokens_of(scenario: Scenario) -> float:
    """The mean prompt tokens of a request; 0 if it carries tensors."""
    if TASKS[scenario.task].sends_tensors:
        return 0.0
    workload = scenario.workload
    return sum(share * _prompt_tokens(kind) for share, kind in zip(workload.kind_shares, workload.kinds.values(), strict=True))


def _prompt_tokens(kind: RequestKind) -> float:
    """The mean prompt tokens of a request; in a session, the new tokens of a turn."""
    prefix = kind.prefix.share_ratio * kind.prefix.tokens if kind.prefix else 0.0
    return prefix + (_DATASET_TOKENS if kind.dataset else kind.input_tokens.expected)


def _replayed(number: int, stage: Stage) -> StageSize:
    assert stage.trace is not None
    trace = read_trace(stage.trace, stage.trace_block_tokens, stage.trace_format)
    due = len(trace_offsets(trace, stage.speed, stage.requests, stage.duration_s))
    warmup = min(stage.warmup_requests, len(trace))
    tokens = sum(request.input_tokens for request in (*trace[:due], *trace[:warmup]))
    prompts = due + warmup
    memory = prompts * _PROMPT_BYTES + tokens * _TOKEN_BYTES + due * _DUE_BYTES
    disk = prompts * _PROMPT_DISK_BYTES + tokens * _TOKEN_DISK_BYTES + due * _DUE_DISK_BYTES
    return StageSize(f"load.{number}.trace = {stage.trace}", PlanSize(prompts, prompts, tokens, due, memory, disk))
