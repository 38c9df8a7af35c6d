"""Reads a run directory for the analysis, which reads no other file. The directory's losses list what cannot be read."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from trtbench.analysis.facts import DeploymentFacts, deployment_facts
from trtbench.rundir.directory import DeploymentDirectory, RunDirectory
from trtbench.rundir.lines import Loss, Losses, read_lines
from trtbench.rundir.records import Environment, Event
from trtbench.rundir.requests import Requests
from trtbench.rundir.samples import Samples
from trtbench.scenario.reading import load_run_scenario
from trtbench.scenario.scenario import Scenario

PromptDigests = Mapping[tuple[str, str], bytes]
"""(Stage, number of the prompt): a digest of the input. Equal inputs have equal digests."""


class RecordedDeployment:
    """The files of one deployment. `samples` and `facts` are read at once, requests only as far as their columns contain no lists."""

    def __init__(self, directory: DeploymentDirectory) -> None:
        self._directory = directory
        self.name = directory.name
        self.requests: Requests = directory.columns()
        self.facts: DeploymentFacts = deployment_facts(directory.name, directory.deployment(), directory.engine())
        self.samples: Samples = directory.samples()

    def prompts(self) -> PromptDigests:
        return read_prompts(self._directory.plan_jsonl, self._directory.losses)

    def note_missing(self) -> None:
        """Record which files a deployment with load lacks."""
        self._directory.note_missing(own=self.facts.mode == "own")

    def note_foreign(self, requests: int, samples: int) -> None:
        """Record how many requests and samples are from another time than the deployment."""
        if requests:
            self._directory.losses.note(self._directory.requests_parquet, "foreign", requests)
        if samples:
            self._directory.losses.note(self._directory.samples_parquet, "foreign_samples", samples)


class RecordedRun:
    """A run directory. ScenarioError or RunDirectoryError if it holds no readable run."""

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self.name = run.path.name
        self.scenario: Scenario = load_run_scenario(run.path / "scenario.yaml")
        self.environment: Environment = run.environment()
        self.events: list[Event] = run.events()
        self.came_to_its_end: bool = run.is_complete()

    def deployments(self) -> Iterator[RecordedDeployment]:
        """The deployments one after another, so that the records of only one are in memory."""
        return map(RecordedDeployment, self._run.deployments())

    @property
    def losses(self) -> tuple[Loss, ...]:
        """The losses so far: what could not be read."""
        return tuple(self._run.losses)


def read_prompts(plan_jsonl: Path, losses: Losses | None = None) -> PromptDigests:
    """The prompts of a saved plan; none if there is no plan."""
    rows = (row for row in read_lines(plan_jsonl, losses) if isinstance(row, dict) and row.keys() >= {"input_ids", "stage", "prompt"})
    return {(str(row["stage"]), str(row["prompt"])): _digest(row["input_ids"]) for row in rows}


def _digest(input_ids: object) -> bytes:
    return hashlib.blake2b(repr(input_ids).encode(), digest_size=16).digest()
