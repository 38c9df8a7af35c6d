"""The hot-reload experiment: reloads at their instants during the load, and a watch on which versions are served."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass

from trtbench.experiments.hot_reload.live_repository import Change, LiveRepository, reloadable
from trtbench.experiments.hot_reload.model_control import CONTROLS, Control, ControlError
from trtbench.experiments.hot_reload.spec import HotReload, PlannedReload, Reload
from trtbench.load.worker_pool import WorkerPool
from trtbench.run.deploy import REPOSITORY
from trtbench.run.experiment_run import ExperimentRun
from trtbench.run.load_run import EmitEvent
from trtbench.run.prepare import PreparedRun
from trtbench.rundir.directory import DeploymentDirectory
from trtbench.rundir.experiment_events import ModelVersions, ReloadFinished, ReloadStarted
from trtbench.rundir.traits import Traits
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.scenario import Scenario
from trtbench.serving.repository.model_repository import RenderedRepository
from trtbench.serving.repository.renderer import Renderer
from trtbench.serving.server.server_kinds import Server
from trtbench.system.clock import NS_PER_S, now_ns, seconds_ns

_POLL_S = 0.1


@dataclass(slots=True)
class ReloadOutcome:
    """Whether a reload loaded a version, which one, and the seconds of its steps; None for those that its kind does not have.

    The fields are those of ReloadFinished.
    """

    ok: bool = False
    error: str = ""
    version: str | None = None
    load_s: float | None = None
    loaded_s: float | None = None
    restored_s: float | None = None
    unload_s: float | None = None
    switched_s: float | None = None
    drain_s: float | None = None


class Reloader:
    """Reloads as `asked`; `configs` is the config.pbtxt of each engine that a reload switches to.

    Emits ReloadStarted, ReloadFinished and, on change, ModelVersions. Blocking calls run in threads, so that the load's loop continues.
    """

    def __init__(self, asked: HotReload, control: Control, repository: LiveRepository, configs: Mapping[str, str]) -> None:
        self._asked, self._control, self._repository, self._configs = asked, control, repository, configs

    async def run(self, pool: WorkerPool, opened: asyncio.Event, stop: asyncio.Event, emit: EmitEvent) -> None:
        """Reloads from `opened`, when the stage begins, until `stop`. A reload that has begun is completed first."""
        self._pool, self._loop = pool, asyncio.get_running_loop()
        watch = asyncio.create_task(self._watch(emit))
        try:
            await _either(opened, stop)
            start_ns = now_ns()
            for planned in self._asked.planned:
                due_ns = start_ns + seconds_ns(self._asked.before_s + (planned.number - 1) * self._asked.every_s)
                if await _stopped_before(stop, due_ns):
                    return
                await self._reload(planned, emit)
            await stop.wait()
        finally:
            watch.cancel()
            with suppress(asyncio.CancelledError):
                await watch

    async def _reload(self, planned: PlannedReload, emit: EmitEvent) -> None:
        reload = planned.reload
        started = ReloadStarted(
            reload=reload.kind,
            number=planned.number,
            repeat=planned.repeat,
            to=reload.to,
            breaks=reload.breaks,
            warmup=planned.warms_up,
            control=self._asked.control,
        )
        before = await asyncio.to_thread(self._versions)
        emit(started)
        start_ns = now_ns()
        outcome = await asyncio.to_thread(self._do, planned)
        elapsed_s = (now_ns() - start_ns) / NS_PER_S
        if self._keeps_number(reload, outcome.ok):
            self._pool.renew()  # the client cannot see that the version was replaced
        after = await asyncio.to_thread(self._versions)
        emit(ReloadFinished(**asdict(started), **asdict(outcome), seconds=elapsed_s, versions_before=before, versions_after=after))

    def _keeps_number(self, reload: Reload, loaded: bool) -> bool:
        """Whether a version was loaded again under its number."""
        if reload.kind == "broken":
            return not loaded and self._asked.control == "poll"
        return loaded and reload.kind in ("changed_config", "unload_load")

    def _do(self, planned: PlannedReload) -> ReloadOutcome:
        """Carries out a reload, in a thread."""
        outcome = ReloadOutcome()
        self._start_ns = now_ns()
        self._repository.warms_up = planned.warms_up
        try:
            _STEPS[planned.reload.kind](self, planned.reload, outcome)
        except (ControlError, OSError, ValueError) as error:
            outcome.error = str(error)
        return outcome

    def _new_version(self, reload: Reload, outcome: ReloadOutcome) -> None:
        change = self._repository.add_version(self._config(reload))
        outcome.version = change.version
        self._load(change, outcome)

    def _changed_config(self, reload: Reload, outcome: ReloadOutcome) -> None:
        self._load(self._repository.set_queue_delay(reload.max_queue_delay_us or 0), outcome)

    def _broken(self, reload: Reload, outcome: ReloadOutcome) -> None:
        """Loads a broken version. When it is removed, a polling server loads the serving version again; the reload includes that time."""
        try:
            with self._repository.broken_version(reload.breaks or "model") as change:
                outcome.version = change.version
                self._load(change, outcome)
        finally:
            if self._asked.control == "poll":
                outcome.restored_s = _timed(lambda: self._control.load(self._repository.serving))

    def _unload_load(self, reload: Reload, outcome: ReloadOutcome) -> None:
        model, polled = self._repository.model, self._asked.control == "poll"
        if polled:
            self._repository.take_away(model)
        try:
            outcome.unload_s = _timed(lambda: self._control.unload(model))
        finally:
            if polled:
                self._repository.put_back(model)
        self._load(self._repository.same(), outcome)

    def _blue_green(self, reload: Reload, outcome: ReloadOutcome) -> None:
        """Switches to a second model, and unloads the first one when all requests that were sent to it are done."""
        old, change = self._repository.model, self._repository.add_model(self._config(reload))
        outcome.version = change.version
        try:
            self._load(change, outcome)
        except ControlError:
            self._repository.remove(change.model)
            raise
        self._repository.serve(change)
        outcome.switched_s = self._elapsed_s()
        switching = asyncio.run_coroutine_threadsafe(self._pool.switch(change.model), self._loop)
        outcome.drain_s = _timed(switching.result)
        outcome.unload_s = _timed(lambda: self._unload_for_good(old))

    def _unload_for_good(self, model: str) -> None:
        """Unloads a model and removes its files. A polling server unloads it because the files are gone."""
        if self._asked.control == "poll":
            self._repository.remove(model)
            self._control.unload(model)
        else:
            self._control.unload(model)
            self._repository.remove(model)

    def _config(self, reload: Reload) -> str | None:
        return self._configs[reload.to] if reload.to else None

    def _load(self, change: Change, outcome: ReloadOutcome) -> None:
        start_ns = now_ns()
        try:
            self._control.load(change)
            outcome.ok = True
        finally:
            outcome.load_s, outcome.loaded_s = (now_ns() - start_ns) / NS_PER_S, self._elapsed_s()

    def _elapsed_s(self) -> float:
        """Since the reload began."""
        return (now_ns() - self._start_ns) / NS_PER_S

    def _versions(self) -> dict[str, str] | None:
        """The state of each version, or None if the server does not answer."""
        try:
            return self._control.versions(self._repository.models)
        except ControlError:
            return None

    async def _watch(self, emit: EmitEvent) -> None:
        seen: dict[str, str] | None = None
        while True:
            versions = await asyncio.to_thread(self._versions)
            if versions is not None and versions != seen:
                emit(ModelVersions(versions=versions))
                seen = versions
            await asyncio.sleep(_POLL_S)


_STEPS: dict[str, Callable[[Reloader, Reload, ReloadOutcome], None]] = {
    "new_version": Reloader._new_version,
    "changed_config": Reloader._changed_config,
    "broken": Reloader._broken,
    "unload_load": Reloader._unload_load,
    "blue_green": Reloader._blue_green,
}


def _timed(call: Callable[[], object]) -> float:
    start_ns = now_ns()
    call()
    return (now_ns() - start_ns) / NS_PER_S


async def _either(first: asyncio.Event, second: asyncio.Event) -> None:
    waits = [asyncio.create_task(event.wait()) for event in (first, second)]
    await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    for wait in waits:
        wait.cancel()


async def _stopped_before(stop: asyncio.Event, due_ns: int) -> bool:
    with suppress(asyncio.TimeoutError):
        await asyncio.wait_for(stop.wait(), max(0, due_ns - now_ns()) / NS_PER_S)
    return stop.is_set()


class HotReloadRun(ExperimentRun):
    def check_existing_server(self, scenario: Scenario) -> None:
        if scenario.hot_reload:
            raise ScenarioError("hot_reload: an existing server is not reloaded; leave it out, or use `trtbench serve-and-bench`")

    def check_ranks(self, scenario: Scenario, ranks: int) -> None:
        if scenario.hot_reload and ranks > 1:
            raise ScenarioError(f"hot_reload: the engine has {ranks} ranks, and those of MPI end with their model; take one GPU")

    def check_deployment(self, scenario: Scenario, deployment: Deployment, renderer: Renderer, traits: Traits) -> None:
        if not scenario.hot_reload:
            return
        if why := renderer.no_reload(deployment):
            raise ScenarioError(why)
        if deployment.batching:
            raise ScenarioError("batching and hot_reload exclude each other: one model is reloaded; drop one of them")
        if traits.kv_takes_free_memory and not deployment.bounds_kv:
            raise ScenarioError(
                "hot_reload loads a second engine next to the first, whose KV cache has taken its share of all that is free on the GPU: "
                "give kv_cache.blocks, so that both fit"
            )

    def engines_at_once(self, scenario: Scenario) -> int:
        return 2 if scenario.hot_reload else 1

    def repository(self, scenario: Scenario, rendered: RenderedRepository) -> RenderedRepository:
        return reloadable(rendered, scenario.hot_reload) if scenario.hot_reload else rendered

    def preview_companion(self, scenario: Scenario) -> str | None:
        asked = scenario.hot_reload
        if not asked:
            return None
        kinds = ", ".join(f"{reload.kind} to {reload.to}" if reload.to else reload.kind for reload in asked.reloads)
        warm = {True: ", each with model_warmup", "both": ", alternately without and with model_warmup"}.get(asked.model_warmup, "")
        times = f"one every {asked.every_s:g} s from {asked.before_s:g} s on"
        return f"{len(asked.planned)} reloads ({kinds}){warm}, {times}, {asked.control}"

    def companion(self, prepared: PreparedRun, name: str, server: Server, directory: DeploymentDirectory) -> Reloader | None:
        asked = prepared.scenario.hot_reload
        if not asked:
            return None
        configs: dict[str, str] = {dtype: prepared.repositories[f"{name}-{dtype}"].config for dtype in asked.engines}
        repository = LiveRepository(directory.path / REPOSITORY, prepared.repositories[directory.name])
        return Reloader(asked, CONTROLS[asked.control](server.endpoints.http), repository, configs)


RUN = HotReloadRun()
