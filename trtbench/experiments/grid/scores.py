"""What one deployment of a grid scored: the figures that a race of cells is decided by, and by which a grid has a winner."""

from __future__ import annotations

from trtbench.analysis.deployments import deployment_result
from trtbench.analysis.stage.stage import StageResult
from trtbench.analysis.stage.throughput import main_rate
from trtbench.experiments.grid.race import Score
from trtbench.rundir import RunDirectory
from trtbench.rundir.sessions import current
from trtbench.scenario.scenario import Scenario


def score(stage: StageResult | None, scenario: Scenario) -> Score:
    """Goodput where the scenario sets an SLO, else `main_rate`; no figure where the stage's rates do not hold."""
    if stage is None or not stage.supports_rates:
        return Score(None)
    rates = stage.throughput
    if scenario.slo.model_dump(exclude_none=True):
        return Score(rates.goodput, rates.goodput_ratio)
    return Score(main_rate(rates))


def deployment_scores(run: RunDirectory, name: str, scenario: Scenario) -> dict[str, Score]:
    """By stage, of the deployment directory `name`."""
    directory, events = run.deployment(name), [event for event in current(run.events()) if event.deployment == name]
    result = deployment_result(directory, directory.columns(), events, scenario, run.environment().cpu_count)
    return {stage.label: score(result.stage(stage.label), scenario) for stage in scenario.load}
