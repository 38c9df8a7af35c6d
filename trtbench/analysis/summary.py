"""Summary: everything that can be said of a run, from its directory alone."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from typing import Any

from trtbench.analysis.deployments import DeploymentResult, deployment_result
from trtbench.analysis.facts import NO_FIGURE
from trtbench.analysis.request_data import RequestData, input_reasons, request_data
from trtbench.analysis.stage.unreported import told_reasons
from trtbench.analysis.verdict.client_validity import transport_reasons
from trtbench.analysis.verdict.damage import damage_reasons
from trtbench.analysis.verdict.doubts import Doubts
from trtbench.analysis.verdict.finding import Finding, by_severity, with_doubts
from trtbench.analysis.verdict.findings import deployment_findings
from trtbench.analysis.verdict.gpu_health import HeldGpu, held_gpus
from trtbench.analysis.verdict.validity import gpu_reasons, resume_reasons, run_reasons, sample_reasons, stage_reasons
from trtbench.analysis.verdict.verdict import Reason, Verdict, verdict
from trtbench.experiments.context_limit.findings import limit_findings
from trtbench.experiments.grid.analysis import Frontier, frontiers
from trtbench.experiments.hot_reload.findings import reload_findings, reload_reasons
from trtbench.experiments.kv_cache.prefix_reuse import PrefixReuse, prefix_reuse
from trtbench.experiments.precision.agreement import Answers, embeddings, outputs
from trtbench.experiments.precision.analysis import Comparison, compare
from trtbench.experiments.precision.findings import precision_findings
from trtbench.experiments.response_cache.findings import cache_findings, gain_findings
from trtbench.experiments.response_cache.gain import CacheGain, cache_gains
from trtbench.experiments.scaling.analysis import ScalingCurve, scaling_curves
from trtbench.experiments.scaling.findings import replica_findings, scaling_findings
from trtbench.rundir import DeploymentDirectory, RunDirectory
from trtbench.rundir.records import Environment, Event
from trtbench.rundir.sessions import Resumption, current, is_interrupted, length_s, resumptions, sessions
from trtbench.scenario.reading import load_run_scenario
from trtbench.scenario.scenario import Scenario

SUMMARY_VERSION = 2


@dataclass(frozen=True, slots=True)
class Summary:
    """`complete` is whether the run came to its own end: neither interrupted nor killed."""

    run: str
    complete: bool
    command: str
    started_utc: str
    wall_s: float
    scenario: Scenario
    environment: Environment
    verdict: Verdict
    deployments: tuple[DeploymentResult, ...]
    comparisons: tuple[Comparison, ...]
    findings: tuple[Finding, ...]
    prefix_reuse: tuple[PrefixReuse, ...] = ()
    frontiers: tuple[Frontier, ...] = ()
    resumptions: tuple[Resumption, ...] = ()
    held_gpus: tuple[HeldGpu, ...] = ()
    scalings: tuple[ScalingCurve, ...] = ()
    cache_gains: tuple[CacheGain, ...] = ()
    request_data: tuple[RequestData, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain JSON: instants and lengths of time in integer ns, ratios, bytes; units in the names."""
        plain: dict[str, Any] = _plain({name: getattr(self, name) for name in self.__slots__ if name not in ("scenario", "environment")})
        facts = {"scenario": self.scenario.model_dump(mode="json"), "environment": asdict(self.environment)}
        return {"summary_version": SUMMARY_VERSION} | plain | facts


def summarise(run: RunDirectory) -> Summary:
    """Read a run, finished or not. ScenarioError or RunDirectoryError when the directory holds no readable run."""
    scenario, environment, events = load_run_scenario(run.path / "scenario.yaml"), run.environment(), run.events()
    measured = _measure(run, scenario, events, environment.cpu_count)
    results, cpu_count = measured.results, environment.cpu_count
    held = held_gpus(sessions(events)[-1] if events else ())  # a resumed run holds them anew
    greedy = scenario.workload.sampling.temperature == 0
    comparisons = compare(results, scenario.engines, measured.texts, greedy, cpu_count, measured.vectors)
    scalings, gains = scaling_curves(results, scenario, cpu_count), cache_gains(results, scenario)
    interrupted = is_interrupted(events)
    complete = run.is_complete() and not interrupted
    resumed, inputs = resumptions(events), request_data(events, scenario)
    reasons = [*run_reasons(complete, interrupted, results, comparisons), *resume_reasons(resumed), *input_reasons(inputs, scenario)]
    reasons += [*measured.reasons, *gpu_reasons(results, current(events), held), *sample_reasons(results)]
    reasons += damage_reasons(run.losses, complete)
    doubts = Doubts(reasons)
    findings = _findings(results, comparisons, scalings, gains, scenario, cpu_count)
    return Summary(
        run=run.path.name,
        complete=complete,
        command=shlex.join(next((e.data.get("command", []) for e in events if e.kind == "run_started"), [])),
        started_utc=environment.started_utc,
        wall_s=length_s(events),
        scenario=scenario,
        environment=environment,
        verdict=verdict(reasons),
        deployments=tuple(results),
        comparisons=comparisons,
        findings=by_severity(with_doubts(list(findings), doubts)),
        prefix_reuse=prefix_reuse(results, scenario),
        frontiers=tuple(replace(one, doubts=doubts.about(one.rests_on)) for one in frontiers(results, scenario, events)),
        resumptions=resumed,
        held_gpus=held,
        scalings=scalings,
        cache_gains=gains,
        request_data=inputs,
    )


@dataclass
class _Measured:
    """Of all deployments. `texts` and `vectors`: what each answered, by its name."""

    results: list[DeploymentResult] = field(default_factory=list)
    reasons: list[Reason] = field(default_factory=list)
    texts: dict[str, Answers] = field(default_factory=dict)
    vectors: dict[str, Answers] = field(default_factory=dict)


def _measure(run: RunDirectory, scenario: Scenario, events: Sequence[Event], cpu_count: int) -> _Measured:
    measured, of_attempts = _Measured(), current(events)
    for directory in run.deployments():
        own = [event for event in of_attempts if event.deployment == directory.name]
        result, reasons, texts, vectors = _deployment(directory, own, scenario, cpu_count)
        measured.results.append(result)
        measured.reasons += reasons
        measured.texts[directory.name], measured.vectors[directory.name] = texts, vectors
    return measured


def _deployment(
    directory: DeploymentDirectory, events: Sequence[Event], scenario: Scenario, cpu_count: int
) -> tuple[DeploymentResult, list[Reason], Answers, Answers]:
    """One deployment's records are held only in here: a day's run has millions."""
    requests = directory.columns()
    result = deployment_result(directory, requests, events, scenario, cpu_count)
    reasons = [*transport_reasons(result), *reload_reasons(result, scenario), *told_reasons(result, scenario)]
    for stage in result.stages:
        reasons += stage_reasons(result, stage, scenario, cpu_count)
    if result.stages:
        directory.note_missing(result.facts.mode == "own")
    if len(scenario.engines) < 2:  # nobody to agree with
        return result, reasons, {}, {}
    return result, reasons, outputs(requests), embeddings(requests)


def _findings(
    results: Sequence[DeploymentResult],
    comparisons: Sequence[Comparison],
    scalings: Sequence[ScalingCurve],
    gains: Sequence[CacheGain],
    scenario: Scenario,
    cpu_count: int,
) -> Iterator[Finding]:
    for result in results:
        yield from deployment_findings(result, scenario, cpu_count)
        yield from limit_findings(result)
        yield from reload_findings(result, scenario)
        yield from replica_findings(result)
        yield from cache_findings(result)
    for pair in comparisons:
        yield from precision_findings(pair)
    yield from chain.from_iterable(map(scaling_findings, scalings))
    yield from chain.from_iterable(map(gain_findings, gains))


def _plain(value: Any) -> Any:
    """Dataclasses to dicts with string keys, without the fields of NO_FIGURE, and tuples to lists, all the way down."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name, one in value.__dataclass_fields__.items() if one.metadata != NO_FIGURE}
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
