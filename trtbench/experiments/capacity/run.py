"""Searches the capacity of a running deployment: each probe is a stage of load, which its judge ends when the verdict is certain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

from trtbench.analysis.deployments import deployment_result
from trtbench.analysis.loader import RecordedDeployment
from trtbench.analysis.verdict.validity import stage_reasons
from trtbench.experiments.capacity.bracketing import Range, Step, Tried, Verdict, most_probes_needed, next_step
from trtbench.experiments.capacity.probe_judge import ProbeJudge, unusable_because
from trtbench.experiments.capacity.sequential_test import Zone
from trtbench.experiments.capacity.spec import Capacity
from trtbench.load.load_phases import Ended, LoadHooks, run_load
from trtbench.load.worker_pool import WorkerPool
from trtbench.plan.plan import Plan, StagePlan
from trtbench.plan.plan_file import save_plan
from trtbench.run.experiment_run import ExperimentRun, LoadSetting
from trtbench.run.load_run import drive_load
from trtbench.rundir.experiment_events import CapacityProbe, CapacitySearchFinished, CapacitySearchStarted
from trtbench.rundir.latency_limits import FinishedRequest
from trtbench.rundir.sessions import current
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.scenario import Scenario


class CapacityRun(ExperimentRun):
    def preview_in_place_of_load(self, scenario: Scenario) -> str | None:
        return "\n".join(_preview(scenario, scenario.capacity)) if scenario.capacity else None

    def in_place_of_load(self, setting: LoadSetting) -> tuple[str, int | None] | None:
        """Run the search in place of the load. ServerError if the server cannot be reached, OSError if records cannot be written."""
        asked = setting.scenario.capacity
        if asked is None:
            return None
        probes = _Probes(setting, asked)
        limits = tuple(clause.limit for clause in asked.slo)
        one = setting
        try:
            ended, signum = drive_load(one.server, one.scenario, one.directory, one.log, one.progress, probes.run, limits)
        finally:
            probes.save_plan()
        one.log.write(CapacitySearchFinished(ended=ended), one.directory.name)
        return ended, signum


RUN = CapacityRun()


class _Probes:
    """The probes of one deployment."""

    def __init__(self, setting: LoadSetting, asked: Capacity) -> None:
        self._setting, self._asked = setting, asked
        self._tried: list[Tried] = []
        self._stages: list[StagePlan] = []
        self._last: Plan | None = None

    async def run(self, pool: WorkerPool, hooks: LoadHooks) -> Ended:
        """Probe until the search is over, or the load ends."""
        asked, log, name = self._asked, self._setting.log, self._setting.directory.name
        search = Range.of(asked)
        loads = {"start": asked.start, "least": asked.least_load, "most": asked.most, "resolution": asked.resolution}
        slo = [clause.label for clause in asked.slo]
        log.write(CapacitySearchStarted(by=asked.by, slo=slo, probes=asked.probes, **loads), name)
        while step := next_step(search, self._tried):
            stage = asked.stage(len(self._tried) + 1, step.level, step.phase == "confirm")
            judge = ProbeJudge(asked.slo, int(step.level) if search.whole else None, asked.resolution, whole=step.phase == "confirm")
            ended = await self._load(stage, judge, pool, hooks)
            if ended != "done":
                return ended
            self._record(step, stage, judge)
        return "done"

    async def _load(self, stage: Stage, judge: ProbeJudge, pool: WorkerPool, hooks: LoadHooks) -> Ended:
        setting = self._setting
        plan = self._last = setting.draw(setting.scenario.model_copy(update={"load": (stage,)}))
        self._stages += plan.stages
        save_plan(plan, setting.directory.plan_jsonl)
        pool.take_plan(setting.directory.plan_jsonl)
        watching = replace(hooks, watch=lambda: _ProbeWatch(judge, pool))
        return await run_load(plan, setting.scenario.stop, pool, watching, setting.scenario.client.workers)

    def _record(self, step: Step, stage: Stage, judge: ProbeJudge) -> None:
        verdict = judge.conclude()
        doubts = self._doubts(stage.label, verdict)
        verdict = "unusable" if doubts else verdict
        self._tried.append(Tried(step.level, verdict, step.phase))
        probe = CapacityProbe(
            stage=stage.label,
            level=step.level,
            phase=step.phase,
            verdict=verdict,
            clauses=judge.clauses(),
            jointly_broken=judge.jointly_broken,
            broken_by=judge.broken_by,
            doubts=doubts,
        )
        self._setting.log.write(probe, self._setting.directory.name)

    def _doubts(self, stage: str, verdict: Verdict) -> list[str]:
        """The reasons for which the probe says nothing of the server, from what the run has recorded so far."""
        log, scenario, directory = self._setting.log, self._setting.scenario, self._setting.directory
        events = [event for event in current(log.run.events()) if event.deployment == directory.name]
        cpu_count = log.run.environment().cpu_count
        result = deployment_result(RecordedDeployment(directory), events, scenario, cpu_count)
        measured = result.stage(stage)
        return unusable_because(verdict, stage_reasons(result, measured, scenario, cpu_count)) if measured else []

    def save_plan(self) -> None:
        """Save the plan of all probes, in place of that of the last one."""
        if self._last:
            save_plan(replace(self._last, stages=tuple(self._stages)), self._setting.directory.plan_jsonl)


class _ProbeWatch:
    """Ends a probe as soon as its judge has a verdict."""

    def __init__(self, judge: ProbeJudge, pool: WorkerPool) -> None:
        self._judge, self._pool = judge, pool

    def add(self, finished: Iterable[FinishedRequest]) -> None:
        self._judge.add(finished)

    def reached(self, until_ns: int) -> bool:
        return self._judge.verdict(min(until_ns, self._pool.over_until_ns)) is not None


def _preview(scenario: Scenario, asked: Capacity) -> Iterator[str]:
    """Lines of the dry run: what is searched, and the longest that it can take."""
    search = Range.of(asked)
    unit = "users" if search.whole else "requests/s"
    slo = " and ".join(clause.label for clause in asked.slo)
    yield f"capacity: searches the most {unit} that keep {slo}, from {asked.start:g}, between {asked.least_load:g} and {asked.most:g}"
    needed = max(Zone.around(clause.allowed_ratio).least_requests(len(asked.slo)) for clause in asked.slo)
    bounds = f"{asked.probe_requests:,} requests and {asked.probe_s:g} s"
    yield f"a probe in which no request breaks a limit is decided after about {needed:,} requests; each has at most {bounds}"
    longest_s, most = asked.probes * (asked.probe_s + scenario.stop.timeout_s), most_probes_needed(search)
    more = f" (a search up to {asked.most:g} may need {most})" if most > asked.probes else ""
    yield f"at most {asked.probes} probes{more} in {longest_s / 60:.0f} min for each deployment, warm-ups not counted"
