"""ExperimentPreparation: an experiment's requirements on a scenario and its deployments, and its additions to them, before anything is
served.
"""

from __future__ import annotations

from collections.abc import Iterable

from trtbench.experiments.registry import Role
from trtbench.rundir.traits import Traits
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.scenario import Scenario
from trtbench.serving.repository.model_repository import RenderedRepository
from trtbench.serving.repository.renderer import Renderer


class ExperimentPreparation(Role):
    """The part of an `ExperimentRun` that needs no run. Each method changes and refuses nothing unless the scenario requests the
    experiment.
    """

    MODULE = "run"

    def check_scenario(self, scenario: Scenario) -> None:
        """UserError for what the experiment cannot do with any server."""

    def check_existing_server(self, scenario: Scenario) -> None:
        """ScenarioError if the experiment needs a server that trtbench starts itself."""

    def check_text(self, scenario: Scenario, model: str, remedy: str) -> None:
        """UserError if the experiment needs token ids and `model` takes text."""

    def check_ranks(self, scenario: Scenario, ranks: int) -> None:
        """ScenarioError for an engine of more MPI ranks than the experiment can serve."""

    def check_deployment(self, scenario: Scenario, deployment: Deployment, renderer: Renderer, traits: Traits) -> None:
        """ScenarioError, without the deployment's name, if the experiment cannot be done on it."""

    def engines_at_once(self, scenario: Scenario) -> int:
        """The number of engines that are in memory at once for a deployment of one engine."""
        return 1

    def repository(self, scenario: Scenario, rendered: RenderedRepository) -> RenderedRepository:
        """The repository that is served, made from the one that the provider renders."""
        return rendered

    def preview_deployments(self, scenario: Scenario) -> Iterable[str]:
        """Lines of the dry run about the deployments that the experiment makes from the one in the scenario file."""
        return ()

    def preview_companion(self, scenario: Scenario) -> str | None:
        """The line of the dry run about the actions while the load runs."""
        return None

    def preview_in_place_of_load(self, scenario: Scenario) -> str | None:
        """The line of the dry run about requests that replace the plan's load; their number is not known before."""
        return None
