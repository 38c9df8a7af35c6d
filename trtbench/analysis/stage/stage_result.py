"""One stage of load on one deployment, with every figure that its records and samples support."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

import numpy as np

from trtbench.analysis.facts import DeploymentFacts
from trtbench.analysis.stage.batching import InflightBatching, TritonBatching, inflight_batching, padding_ratio, triton_batching
from trtbench.analysis.stage.by_length_class import LengthClassResult, by_length_class
from trtbench.analysis.stage.engine_metrics import DraftsByRequest, ReuseByRequest, drafts_by_request, reuse_by_request
from trtbench.analysis.stage.engine_times import EngineTimes, engine_times
from trtbench.analysis.stage.kv_cache import KvCache, Residency, kv_cache
from trtbench.analysis.stage.latency import NS_PER_S, Group, Latency, by_mix, by_turn, first_answers_ns, latency
from trtbench.analysis.stage.littles_law import LittlesLaw, littles_law
from trtbench.analysis.stage.long_run import Hour, drifts, hours
from trtbench.analysis.stage.outcomes import Conservation, conservation
from trtbench.analysis.stage.resources import Resources, resources
from trtbench.analysis.stage.sending import LEVEL_KEPT_RATIO, Sending, sending, users_reached
from trtbench.analysis.stage.throughput import Throughput, admitted_rate, throughput
from trtbench.analysis.stage.timestamps import Stamps, stamps
from trtbench.analysis.stage.token_cost import TokenCost, energy_per_token_j, token_cost
from trtbench.analysis.stage.token_counting import estimated_off, is_exact
from trtbench.analysis.stage.uncertainty import Uncertainty, uncertainty
from trtbench.analysis.stage.waterfall import TailWaterfall, Waterfall, tail_waterfall, waterfall
from trtbench.analysis.stats.percentile import Distribution
from trtbench.analysis.stats.trends import Drift
from trtbench.rundir.event_kinds import IF_KNOWN, StageFinished, StageStarted
from trtbench.rundir.events import every, timed
from trtbench.rundir.ragged import Ints
from trtbench.rundir.records import Event
from trtbench.rundir.requests import MISSING, Requests
from trtbench.rundir.samples import Samples
from trtbench.scenario.load.stage import Ramp, Stage
from trtbench.scenario.scenario import Scenario
from trtbench.tasks.registry import TASKS

_BACKLOG_FACTOR = 2.0
FOREIGN_CPU_RATIO = 0.15
"""The share of the machine's cores that other processes may use before they are likely to slow what is measured."""


@dataclass(frozen=True, slots=True)
class StageSpan:
    """The time in which a stage was measured. `ended` is that of StageFinished, or broken_off if the run was killed in the stage;
    `planned` is then the least number that can have been planned.
    """

    name: str
    mode: str
    asked: float
    start_ns: int
    end_ns: int
    planned: int
    ended: str


@dataclass(frozen=True, slots=True)
class StageResult:
    """The figures of one stage.

    `wrong_length` counts completed requests whose output length differs from the requested one, `over_length` those of them with more
    tokens, and `estimated_off` those whose text, by trtbench's tokenizer, differs by more than the tokenizer's error. `backlog_grew`: the
    median TTFT (of an encoder: latency) of the last quarter is over twice that of the first quarter; None with fewer than 20 requests in a
    quarter. `foreign_cpu_cores` is the mean number of cores used by processes other than the servers, a balancer and the client.
    `ramp_from` is the level at which a ramp began; it ended at the requested level. `same_as` is the stage whose requests this one repeats.
    `level_reached`: the users of a closed loop in flight (`level.users_reached`), or the rate that max_in_flight let pass; None for
    other loads, and where users think or come and go. `padding_ratio`: the share of an encoder's computed tokens that are padding.
    `duplicate_ratio`: the ratio that the stage sets for itself.
    """

    span: StageSpan
    conservation: Conservation
    throughput: Throughput
    latency: Latency
    sending: Sending
    stamps: Stamps
    mixes: dict[str, Group]
    turns: dict[str, Group]
    input_tokens: Distribution
    output_tokens: Distribution
    wrong_length: int
    over_length: int
    estimated_off: int
    backlog_grew: bool | None
    triton_batching: TritonBatching | None
    inflight: InflightBatching | None
    kv_cache: KvCache | None
    resources: Resources
    energy_per_token_j: float | None
    foreign_cpu_cores: float | None
    drifts: dict[str, Drift]
    ramp_from: float | None
    same_as: str | None = None
    padding_ratio: float | None = None
    duplicate_ratio: float | None = None
    reuse: ReuseByRequest | None = None  # as the engine reported with each answer
    drafts: DraftsByRequest | None = None
    engine_times: EngineTimes | None = None
    level_reached: float | None = None
    uncertainty: Uncertainty = field(default_factory=Uncertainty)
    tail_waterfall: TailWaterfall | None = field(default=None, metadata=IF_KNOWN)
    littles_law: LittlesLaw | None = field(default=None, metadata=IF_KNOWN)
    token_cost: TokenCost | None = field(default=None, metadata=IF_KNOWN)
    hours: tuple[Hour, ...] | None = field(default=None, metadata=IF_KNOWN)  # of a stage of two hours or more
    length_classes: dict[str, LengthClassResult] | None = field(default=None, metadata=IF_KNOWN)

    @property
    def waterfall(self) -> Waterfall | None:
        """The parts of the mean latency, or None where the server reports no times."""
        return waterfall(self.latency, self.triton_batching, self.engine_times)

    @property
    def reaches_level(self) -> bool:
        """Whether about the requested number of users had a request in flight; True if that is unknown, and for open loops."""
        return self.level_reached is None or self.level_reached >= LEVEL_KEPT_RATIO * self.span.asked

    @property
    def level(self) -> float:
        """The users, or requests per second, to which the figures belong: the requested ones, or the users in flight if they are fewer."""
        return self.span.asked if self.reaches_level or self.level_reached is None else self.level_reached

    @property
    def is_closed_loop(self) -> bool:
        return self.span.mode == "concurrency"

    @property
    def held_level(self) -> bool:
        """Whether the figures belong to the requested level and can be points of a curve: not those of a ramp, a burst, a trace, a
        repeated stage, or a stage with a duplicate ratio of its own.
        """
        alike = self.ramp_from is None and self.same_as is None and self.duplicate_ratio is None
        return alike and self.span.mode not in ("burst", "trace")

    @property
    def supports_rates(self) -> bool:
        """Whether conclusions may use its throughput: the stage ran to its end, with enough requests for a median."""
        return self.span.ended in ("done", "steady") and self.latency.e2e_latency_ns.p50 is not None


def stage_spans(events: Sequence[Event], requests: Requests) -> list[StageSpan]:
    """The stages of one deployment whose measured phase began, in order of time."""
    spans = {stage.name: _unfinished(time_ns, stage, requests.stage(stage.name)) for time_ns, stage in timed(events, StageStarted)}
    for window in every(events, StageFinished):
        spans[window.name] = StageSpan(**{field.name: getattr(window, field.name) for field in fields(StageSpan)})
    return sorted(spans.values(), key=lambda span: span.start_ns)


def by_stage(requests: Requests) -> dict[str, Requests]:
    """The measured requests (without warm-up) of each stage that has any."""
    stages = {name: requests.stage(name) for name in requests.texts("stage").values}
    return {name: chosen for name, chosen in stages.items() if len(chosen)}


def _unfinished(start_ns: int, stage: StageStarted, requests: Requests) -> StageSpan:
    """A stage before its window is known to be complete. A stage that ends by time plans while it runs, so `planned` may be too low."""
    instants = [start_ns]  # MISSING is before them all
    for column in (requests.due_ns, requests.sent_ns, requests.done_ns, requests.last_token_ns):
        instants += [int(column.max())] if len(column) else []
    planned = max(stage.planned or 0, len(requests))
    return StageSpan(stage.name, stage.mode, stage.asked, start_ns, max(instants), planned, "broken_off")


def measure(
    span: StageSpan,
    requests: Requests,
    samples: Samples,
    residency: Residency,
    facts: DeploymentFacts,
    scenario: Scenario,
    cpu_count: int,
    of_classes: Mapping[str, Samples],
) -> StageResult:
    """All figures of one stage from its measured requests and the deployment's samples. `of_classes`: those of each
    length class's model."""
    start, end = span.start_ns, span.end_ns
    stage = next((stage for stage in scenario.load if stage.label == span.name), None)
    done = requests.completed
    use = resources(samples, start, end)
    task = TASKS[scenario.task]
    exact = is_exact(done) & task.draws_output_tokens
    streams, items = facts.streams(task), scenario.workload.tensors.batch_size
    grew = backlog_grew(_waits_in_order_ns(done))
    equation, duration_s = conservation(requests, span.planned), stage.duration_s if stage else None
    rates = throughput(requests, span.planned, scenario.slo, duration_s, items)
    users, ramp_from = span.asked if span.mode == "concurrency" else None, _ramp_from(stage) if stage else None
    one_level = ramp_from is None and span.mode not in ("burst", "trace")
    return StageResult(
        span=span,
        conservation=equation,
        throughput=rates,
        latency=latency(requests),
        sending=sending(requests, span.mode != "concurrency"),
        stamps=stamps(requests),
        mixes=by_mix(requests),
        turns=by_turn(requests),
        input_tokens=Distribution.of(done.input_tokens),
        output_tokens=Distribution.of(done.output_tokens[done.counts_tokens & (streams or not task.sends_tensors)]),
        wrong_length=int((exact & (done.output_tokens != done.asked_output_tokens)).sum()),
        over_length=int((exact & (done.output_tokens > done.asked_output_tokens)).sum()),
        estimated_off=int(estimated_off(done).sum()),
        backlog_grew=grew,
        triton_batching=triton_batching(samples, start, end, facts.max_batch_size, unary=not streams, items=items),
        inflight=inflight_batching(samples, start, end),
        kv_cache=kv_cache(samples, start, end, residency, facts.kv_bytes_per_token, facts.prefix_caching),
        resources=use,
        energy_per_token_j=(energy := energy_per_token_j(use, rates.output_tokens)),
        foreign_cpu_cores=foreign_cpu_cores(use, cpu_count),
        drifts=drifts(requests, samples, start, end, facts.counts_cached_blocks),
        ramp_from=ramp_from,
        same_as=stage.same_as if stage else None,
        padding_ratio=padding_ratio(samples, start, end, requests, facts.padded_to_tokens),
        duplicate_ratio=stage.duplicate_ratio if stage else None,
        reuse=reuse_by_request(requests),
        drafts=drafts_by_request(requests),
        engine_times=engine_times(samples, start, end),
        level_reached=_level_reached(span, stage, requests, scenario),
        uncertainty=uncertainty(requests, equation, rates, scenario.slo, duration_s, users, one_level),
        tail_waterfall=tail_waterfall(done),
        littles_law=_littles_law(span, stage, requests, scenario, grew),
        token_cost=token_cost(use, rates, energy, scenario.cost),
        hours=hours(requests, samples, start, end),
        length_classes=by_length_class(requests, facts.length_classes, of_classes, start, end, unary=not streams),
    )


def _littles_law(
    span: StageSpan, stage: Stage | None, requests: Requests, scenario: Scenario, backlog_grew: bool | None
) -> LittlesLaw | None:
    """None for a ramp and for bursts, whose load is not stable by design, and for sessions with pauses, which are not users that think."""
    pauses = [kind.sessions.think_s for kind in scenario.workload.kinds.values() if kind.sessions]
    if stage is None or _ramp_from(stage) is not None or span.mode == "burst" or any(pause.mean for pause in pauses):
        return None
    think_ns = stage.think_s.mean * NS_PER_S if stage.think_s else 0.0
    return littles_law(requests, span.asked if span.mode == "concurrency" else None, think_ns, backlog_grew)


def _level_reached(span: StageSpan, stage: Stage | None, requests: Requests, scenario: Scenario) -> float | None:
    if stage is None or _ramp_from(stage) is not None or span.mode == "trace":
        return None
    if span.mode != "concurrency":
        return admitted_rate(requests) if stage.max_in_flight else None
    pauses = [stage.think_s] if stage.think_s else []
    pauses += [kind.sessions.think_s for kind in scenario.workload.kinds.values() if kind.sessions]
    return None if any(pause.mean for pause in pauses) else users_reached(requests, round(span.asked))


def _ramp_from(stage: Stage) -> float | None:
    level = stage.concurrency if stage.mode == "concurrency" else stage.rate
    return float(level.first) if isinstance(level, Ramp) else None


def _waits_in_order_ns(done: Requests) -> Ints:
    waits: Ints = first_answers_ns(done)[np.argsort(done.due_ns, kind="stable")]
    answered: Ints = waits[waits != MISSING]
    return answered


def backlog_grew(waits_in_order_ns: Ints) -> bool | None:
    """Whether waiting kept growing, from the times to the first answer in the order of due times."""
    quarter = len(waits_in_order_ns) // 4
    first, last = Distribution.of(waits_in_order_ns[:quarter]).p50, Distribution.of(waits_in_order_ns[-quarter:] if quarter else ()).p50
    return None if first is None or last is None else last > _BACKLOG_FACTOR * first


def foreign_cpu_cores(use: Resources, cpu_count: int) -> float | None:
    """CPU of the machine - server - client - balancer; None if one of the first three was not read."""
    machine, server, client = use.machine_cpu_ratio, use.server_cpu_cores, use.client_cpu_cores
    balancer = use.balancer_cpu_cores.mean if use.balancer_cpu_cores else 0.0
    return max(0.0, machine.mean * cpu_count - server.mean - client.mean - balancer) if machine and server and client else None


def is_disturbed(stage: StageResult, cpu_count: int) -> bool:
    """Whether other processes used enough of this machine to make the figures doubtful."""
    return stage.foreign_cpu_cores is not None and stage.foreign_cpu_cores > FOREIGN_CPU_RATIO * cpu_count
