"""The rounds of a repeated load during a run: after each round, whether the figure of `until` is known well enough."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.analysis.deployments import result_so_far
from trtbench.analysis.measured_rounds import is_whole
from trtbench.analysis.named_figures import NamedFigure, figure_named
from trtbench.analysis.verdict.verdict import Place
from trtbench.experiments.repeats.analysis import widths
from trtbench.experiments.repeats.spec import Repeats, Until
from trtbench.run.experiment_run import ExperimentRun
from trtbench.run.log import RunLog
from trtbench.rundir.experiment_events import RoundsDecided
from trtbench.scenario.parts.choices import Dtype
from trtbench.scenario.scenario import Scenario

_KEY = "repeats.until.metric"


class UntilNarrow:
    """Decides from the run directory alone, so that a resumed run makes the same decisions.

    All deployments and stages continue together, so that each round has all of them and rounds can be compared as pairs.
    """

    def __init__(self, scenario: Scenario, repeats: Repeats, until: Until, log: RunLog) -> None:
        self._scenario, self._repeats, self._until, self._log = scenario, repeats, until, log
        self._figure: NamedFigure = figure_named(until.metric, _KEY)
        self._values: dict[str, dict[Place, float | None]] = {}
        self._decided: dict[int, bool] = {}

    def wants(self, dtype: Dtype | None, deployment: str) -> bool:
        """Whether the round of this deployment is begun. The first question about a round decides on the rounds before it."""
        return not any(self._stops_after(number) for number in range(self._repeats.least_rounds, self._repeats.round_of(deployment)))

    def finish(self) -> None:
        """Decide after the last round, unless an earlier decision ended the rounds."""
        any(self._stops_after(number) for number in range(self._repeats.least_rounds, self._repeats.most + 1))

    def _stops_after(self, number: int) -> bool:
        if number not in self._decided:
            found = widths(self._of_rounds(number), number)
            stopped = all(one.relative_width is not None and one.relative_width <= self._until.relative_width for one in found)
            self._decided[number] = stopped = stopped and bool(found)
            self._log.write(
                RoundsDecided(
                    round=number, metric=self._until.metric, bound=self._until.relative_width, widths=tuple(found), stopped=stopped
                )
            )
        return self._decided[number]

    def _of_rounds(self, most: int) -> dict[Place, list[float | None]]:
        """The figure of every stage in the whole rounds up to `most`."""
        found: dict[Place, list[float | None]] = {}
        for directory in self._log.run.deployments():
            if directory.name not in self._values:
                self._values[directory.name] = self._of(directory.name)
            facts = directory.deployment()
            if self._repeats.round_of(facts.deployment or directory.name) <= most:
                for place, value in self._values[directory.name].items():
                    found.setdefault(place, []).append(value)
        return found

    def _of(self, directory: str) -> dict[Place, float | None]:
        result = result_so_far(self._log.run, directory, self._scenario)
        if not is_whole(result, self._scenario):
            return {}
        cell = self._repeats.cell_of(result.facts.deployment)
        name = f"{cell}-{result.facts.dtype}" if result.facts.dtype else cell
        return {(name, stage.span.name): self._figure.value(stage) for stage in result.stages}


class RepeatsRun(ExperimentRun):
    def check_scenario(self, scenario: Scenario) -> None:
        if scenario.repeats and scenario.repeats.until:
            figure_named(scenario.repeats.until.metric, _KEY)

    def preview_deployments(self, scenario: Scenario) -> Iterator[str]:
        """The number of rounds, and what ends them."""
        repeats = scenario.repeats
        if repeats is None:
            return
        until = repeats.until
        runs = repeats.most * len(repeats.of) * len(scenario.engines)
        if until is None:
            yield f"repeats: {repeats.most} rounds, {runs} deployments in all, stages in {repeats.order} order"
        else:
            width = f"{until.metric} has an interval of at most {until.relative_width:.1%} of its mean in every stage"
            yield f"repeats: {repeats.least_rounds} to {repeats.most} rounds, until {width}; at most {runs} deployments in all"

    def selection(self, scenario: Scenario, log: RunLog) -> UntilNarrow | None:
        repeats = scenario.repeats
        return UntilNarrow(scenario, repeats, repeats.until, log) if repeats and repeats.until else None


RUN = RepeatsRun()
