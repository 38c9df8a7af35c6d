"""ExperimentRun: what an experiment does during a run. The core of run/ asks every experiment and names none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from trtbench.experiments.registry import roles
from trtbench.load.tally import LoadProgress
from trtbench.plan.plan import Plan
from trtbench.plan.sources.prompt_source import PromptSource
from trtbench.run.load_run import Companion, ServerUnderLoad, load_server
from trtbench.run.log import RunLog
from trtbench.run.prepare import PreparedRun
from trtbench.run.resolve.experiment_preparation import ExperimentPreparation
from trtbench.rundir.directory import DeploymentDirectory
from trtbench.scenario.parts.choices import Dtype
from trtbench.scenario.scenario import Scenario
from trtbench.serving.server.server_kinds import Server


@dataclass(frozen=True)
class LoadSetting:
    """Everything that sending load to a running deployment needs. `draw` makes the plan of a scenario, with the prompts of the run."""

    server: ServerUnderLoad
    scenario: Scenario
    prompts: PromptSource
    draw: Callable[[Scenario], Plan]
    directory: DeploymentDirectory
    log: RunLog
    progress: LoadProgress


class Selection(Protocol):
    """Decides, from what the run has recorded, which of the remaining deployments are run."""

    def wants(self, dtype: Dtype | None, deployment: str) -> bool:
        """Whether this deployment is run. The question is asked in the order of the run, immediately before the deployment.
        `dtype`: None of an existing server, whose `deployment` is the name of its directory.
        """

    def finish(self) -> None:
        """Record the last decision, after the last deployment of a run that was not interrupted."""


class ExperimentRun(ExperimentPreparation):
    """The object `RUN` in an experiment's `run.py`. Each method returns None unless the scenario requests the experiment."""

    def selection(self, scenario: Scenario, log: RunLog) -> Selection | None:
        """A selection of deployments; None to run all of them."""
        return None

    def companion(self, prepared: PreparedRun, name: str, server: Server, directory: DeploymentDirectory) -> Companion | None:
        """A companion for the load of the deployment `name`, which has one server."""
        return None

    def in_place_of_load(self, setting: LoadSetting) -> tuple[str, int | None] | None:
        """Send requests in place of the plan's load; returns (how that ended, the signal that interrupted it, or None)."""
        return None


def send_load(setting: LoadSetting, plan: Plan) -> tuple[str, int | None]:
    """Send the load of a plan, or the requests that an experiment sends instead; returns (how that ended, the signal that interrupted
    it, or None).
    """
    for experiment in roles(ExperimentRun):
        if outcome := experiment.in_place_of_load(setting):
            return outcome
    return load_server(setting.server, plan, setting.scenario, setting.directory, setting.log, setting.progress)
