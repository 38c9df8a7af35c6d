"""Writes a run directory out of a planted truth: what a deployment's clients, sampler and events are said to have seen.

For truths that tests of `analysis/` hold in memory, so that they also go the way of `trtbench report`: files, reader, summary.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.support.runs.synthetic_run import CLIENT_FACTS, engine, environment
from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.summary import Summary, summarise
from trtbench.engine.spec import Engine
from trtbench.rundir import LineWriter, RunDirectory, sample_row
from trtbench.rundir.event_kinds import LoadMode, StageFinished
from trtbench.rundir.records import Event, RequestRecord, Sample
from trtbench.scenario.scenario import Scenario

Series = dict[tuple[str, str], list[tuple[int, float]]]
"""{(name, label): [(time_ns, value)]}"""


def window(name: str, start_ns: int, end_ns: int, planned: int, users: float = 1, mode: LoadMode = "concurrency") -> StageFinished:
    return StageFinished(name, mode, users, start_ns, end_ns, planned, "done")


@dataclass
class Served:
    """One deployment. `facts` add to its deployment.json; `events` need not name it, nor the stages, which `windows` give.

    `engine`: at its directory; None for a decoder's. `plan`: rows of plan.jsonl.
    """

    requests: Sequence[RequestRecord]
    windows: Sequence[StageFinished] = ()
    series: Series = field(default_factory=dict)
    events: Sequence[Event] = ()
    facts: dict[str, Any] = field(default_factory=dict)
    deployment: str = "default"
    dtype: str = "int8"
    engine: Callable[[Path], Engine] | None = None
    plan: Sequence[dict[str, Any]] = ()


def write_run(path: Path, scenario: Scenario, *served: Served, then: Callable[[RunDirectory], None] = lambda run: None) -> RunDirectory:
    """`then`: what the run does when all were served, before it is finished."""
    run = RunDirectory.create(path)
    (path / "scenario.yaml").write_text(scenario.dump(), encoding="utf-8")
    run.write_environment(environment())
    run.append_event(Event(0, "run_started", "", {"command": ["trtbench"]}))
    for one in served:
        _write(run, scenario, one)
    then(run)
    run.append_event(Event(10**15, "run_finished"))
    return run


def summary_of(path: Path, scenario: Scenario, *served: Served) -> Summary:
    """Of the run as it is read from its files."""
    write_run(path, scenario, *served)
    return summarise(RunDirectory.open(path))


def the_only(summary: Summary) -> DeploymentResult:
    (result,) = summary.deployments
    return result


def codes(summary: Summary, prefix: str) -> set[str]:
    """Of the findings whose code begins so."""
    return {finding.code for finding in summary.findings if finding.code.startswith(prefix)}


def _write(run: RunDirectory, scenario: Scenario, served: Served) -> None:
    name = f"{served.deployment}-{served.dtype}"
    directory = run.deployment(name)
    (served.engine(directory.path) if served.engine else engine(directory.path, served.dtype, scenario.model)).save()
    config = scenario.deployments[served.deployment].model_dump(mode="json")
    facts = {"name": name, "deployment": served.deployment, "dtype": served.dtype, "provider": "openvino", "config": config}
    directory.write_json("deployment.json", facts | {"mode": "own", "max_batch_size": 8, "plan_sha256": "a" * 64} | served.facts)
    own = [replace(event, deployment=name) for event in served.events]
    opened = [Event(one.start_ns, "stage_started", name, asdict(one) | {"level": one.asked}) for one in served.windows]
    closed = [Event(one.end_ns, "stage_finished", name, asdict(one)) for one in served.windows]
    run.append_event(Event(0, "deployment_started", name))
    run.append_event(Event(0, "server_ready", name, {"seconds": 1.0}))
    for event in sorted([*own, *opened, *closed], key=lambda event: event.time_ns):
        run.append_event(event)
    run.append_event(Event(10**14, "load_client", name, {"workers": [CLIENT_FACTS]}))
    run.append_event(Event(10**14, "deployment_finished", name))
    if served.plan:
        directory.plan_jsonl.write_text("".join(json.dumps(row) + "\n" for row in served.plan), encoding="utf-8")
    requests, samples = LineWriter(directory.requests_jsonl()), LineWriter(directory.samples_jsonl)
    requests.write(*(request.to_json() for request in served.requests))
    for (series, label), points in served.series.items():
        samples.write(*(sample_row(Sample(time_ns, series, label, float(value))) for time_ns, value in points))
    requests.close()
    samples.close()
    directory.seal()
