"""Writes a run directory out of a planted truth: what a deployment's clients, sampler and events are said to have seen.

For truths that tests of `analysis/` hold in memory, so that they also go the way of `trtbench report`: files, reader, summary.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from tests.support.runs.facts import CLIENT_FACTS, decoder_engine, environment
from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.summary import Summary, summarise
from trtbench.engine.spec import Engine
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.event_kinds import (
    DeploymentFinished,
    DeploymentStarted,
    LoadMode,
    RunFinished,
    RunStarted,
    ServerReady,
    StageFinished,
    StageStarted,
)
from trtbench.rundir.events import event_of
from trtbench.rundir.lines import LineWriter, sample_row
from trtbench.rundir.records import Event, RequestRecord, Sample
from trtbench.scenario.scenario import Scenario

Series = dict[tuple[str, str], list[tuple[int, float]]]
"""{(name, label): [(time_ns, value)]}"""


def window(name: str, start_ns: int, end_ns: int, planned: int, users: float = 1, mode: LoadMode = "concurrency") -> StageFinished:
    return StageFinished(name, mode, users, start_ns, end_ns, planned, "done")


@dataclass
class Served:
    """One deployment. `facts` add to its deployment.json; `events` need not name it, nor the stages, which `windows` give.

    `engine`: at its directory; None for a decoder's. `plan`: rows of plan.jsonl. `span_ns`: from its start until it is finished.
    `killed`: the run ended in its last stage, so that nothing was finished or sealed and the files end in half a line.
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
    span_ns: tuple[int, int] = (0, 10**14)
    load_s: float = 1.0
    killed: bool = False

    @property
    def name(self) -> str:
        return f"{self.deployment}-{self.dtype}"


def begin_run(path: Path, scenario: Scenario, *, gpu: bool = False, started_ns: int = 0) -> RunDirectory:
    """A run in which nothing was served yet."""
    run = RunDirectory.create(path)
    (path / "scenario.yaml").write_text(scenario.dump(), encoding="utf-8")
    run.write_environment(environment(gpu))
    started = RunStarted(scenario=scenario.name, command=("trtbench", "serve-and-bench", f"{scenario.name}.yaml"))
    run.append_event(event_of(started_ns, started))
    return run


def write_run(
    path: Path,
    scenario: Scenario,
    *served: Served,
    gpu: bool = False,
    span_ns: tuple[int, int] = (0, 10**15),
    then: Callable[[RunDirectory], None] = lambda run: None,
) -> RunDirectory:
    """`then`: what the run does when all were served, before it is finished. A run whose last deployment was killed is not finished."""
    started_ns, finished_ns = span_ns
    run = begin_run(path, scenario, gpu=gpu, started_ns=started_ns)
    for one in served:
        _write(run, scenario, one)
    then(run)
    if not (served and served[-1].killed):
        run.append_event(event_of(finished_ns, RunFinished()))
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
    directory = run.deployment(served.name)
    (served.engine(directory.path) if served.engine else decoder_engine(directory.path, served.dtype, scenario.model)).save()
    config = scenario.deployments[served.deployment].model_dump(mode="json")
    facts = {"name": served.name, "deployment": served.deployment, "dtype": served.dtype, "provider": "openvino", "config": config}
    directory.write_json("deployment.json", facts | {"mode": "own", "max_batch_size": 8, "plan_sha256": "a" * 64} | served.facts)
    for event in _events(served):
        run.append_event(event)
    if served.plan:
        directory.plan_jsonl.write_text("".join(json.dumps(row) + "\n" for row in served.plan), encoding="utf-8")
    requests, samples = LineWriter(directory.requests_jsonl()), LineWriter(directory.samples_jsonl)
    requests.write(*(request.to_json() for request in served.requests))
    for (series, label), points in served.series.items():
        samples.write(*(sample_row(Sample(time_ns, series, label, float(value))) for time_ns, value in points))
    requests.close()
    samples.close()
    if served.killed:
        for path in (directory.requests_jsonl(), directory.samples_jsonl):
            with path.open("a", encoding="utf-8") as lines:
                lines.write('{"index": 7')
    else:
        directory.seal()


def _events(served: Served) -> list[Event]:
    start_ns, end_ns = served.span_ns
    finished = served.windows[:-1] if served.killed else served.windows
    opened = [
        event_of(one.start_ns, StageStarted(name=one.name, mode=one.mode, asked=one.asked, planned=one.planned)) for one in served.windows
    ]
    closed = [event_of(one.end_ns, one) for one in finished]
    own = sorted([*served.events, *opened, *closed], key=lambda event: event.time_ns)
    before = [event_of(start_ns, DeploymentStarted()), event_of(start_ns, ServerReady(seconds=served.load_s))]
    after = [Event(end_ns, "load_client", "", {"workers": [CLIENT_FACTS]}), event_of(end_ns, DeploymentFinished())]
    return [replace(event, deployment=served.name) for event in [*before, *own, *([] if served.killed else after)]]
