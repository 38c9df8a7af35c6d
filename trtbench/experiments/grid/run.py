"""The search for a grid's winner during a run: after every round it decides which cells need another round."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from trtbench.analysis.deployments import result_so_far
from trtbench.experiments.grid.race import Drop, Score, race, score, undecided
from trtbench.experiments.grid.spec import Grid
from trtbench.run.experiment_run import ExperimentRun
from trtbench.run.log import RunLog
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.experiment_events import RaceDecided
from trtbench.scenario.parts.choices import Dtype
from trtbench.scenario.scenario import Scenario


class Search:
    """Decides from the run directory alone, so that a resumed search makes the same decisions."""

    def __init__(self, scenario: Scenario, grid: Grid, log: RunLog) -> None:
        self._scenario, self._grid, self._log = scenario, grid, log
        self._cells = list(dict.fromkeys(map(grid.cell_of, scenario.deployments)))
        self._racing: dict[Dtype, frozenset[str]] = {dtype: frozenset(self._cells) for dtype in scenario.engines}
        self._known: dict[str, Mapping[str, Score]] = {}
        self._decided_round = 0

    def wants(self, dtype: Dtype | None, deployment: str) -> bool:
        """Whether this cell is still in the race. The first question about a round decides on the rounds before it."""
        self.decide(self._grid.round_of(deployment) - 1)
        return dtype is not None and self._grid.cell_of(deployment) in self._racing[dtype]

    def finish(self) -> None:
        self.decide(self._grid.repeats)

    def decide(self, rounds: int) -> None:
        """Drop the cells that the first `rounds` rule out; does nothing if these rounds were decided already."""
        if rounds <= self._decided_round:
            return
        self._decided_round = rounds
        for dtype in self._scenario.engines:
            if self._racing[dtype]:
                self._decide(dtype, rounds)

    def _decide(self, dtype: Dtype, rounds: int) -> None:
        drops: dict[str, tuple[Drop, ...]] = {}
        racing: frozenset[str] = frozenset()
        for stage in (stage.label for stage in self._scenario.load):
            scores = {cell: self._scores(dtype, cell, stage, rounds) for cell in self._cells}
            drops[stage] = race(scores, self._grid.repeats)
            racing |= undecided(scores, drops[stage])
        before, self._racing[dtype] = self._racing[dtype], racing
        dropped = {stage: [drop.recorded for drop in every] for stage, every in drops.items()}
        stopped = sorted(before - racing)
        self._log.write(RaceDecided(dtype=dtype, round=rounds, drops=dropped, stopped=stopped, racing=sorted(racing)))

    def _scores(self, dtype: Dtype, cell: str, stage: str, rounds: int) -> list[Score]:
        """The scores by round, up to the last round in which the cell was run."""
        names = {self._grid.round_of(name): f"{name}-{dtype}" for name in self._scenario.deployments if self._grid.cell_of(name) == cell}
        found: list[Score] = []
        for round_ in range(1, rounds + 1):
            name = names[round_]
            if not (self._log.run.path / name).is_dir():
                break
            if name not in self._known:
                self._known[name] = deployment_scores(self._log.run, name, self._scenario)
            found.append(self._known[name][stage])
        return found


def deployment_scores(run: RunDirectory, name: str, scenario: Scenario) -> dict[str, Score]:
    """The score of each stage of the deployment directory `name`."""
    result = result_so_far(run, name, scenario)
    return {stage.label: score(result.stage(stage.label), scenario) for stage in scenario.load}


class GridRun(ExperimentRun):
    def preview_deployments(self, scenario: Scenario) -> Iterator[str]:
        """The size of the grid, and the cells that are left out with the reason."""
        grid, found = scenario.grid, scenario.cells
        if grid is None or found is None:
            return
        cells, engines = len(found.cells), len(scenario.engines)
        most = ", at most: the search drops cells that cannot win" if grid.search else ""
        yield f"grid: {cells} cells x {grid.repeats} rounds x {engines} engine(s) = {cells * grid.repeats * engines} runs{most}"
        yield from (f"left out: {name}: {why}" for name, why in found.left_out.items())

    def selection(self, scenario: Scenario, log: RunLog) -> Search | None:
        return Search(scenario, scenario.grid, log) if scenario.grid and scenario.grid.search else None


RUN = GridRun()
