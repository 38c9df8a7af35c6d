"""The dry run of a scaling experiment. Its deployments are served and loaded like any others."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.run.experiment_run import ExperimentRun
from trtbench.scenario.scenario import Scenario


class ScalingRun(ExperimentRun):
    def preview_deployments(self, scenario: Scenario) -> Iterator[str]:
        """The points that the provider cannot serve, with the reason."""
        if scenario.scaling:
            yield from (f"left out: {name}: {why}" for name, why in scenario.scaling.left_out.items())


RUN = ScalingRun()
