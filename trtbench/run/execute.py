"""Executes a scenario into a run directory: engines, deployments, servers, load. It prints nothing and emits events."""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from trtbench.client.protocol import RequestOptions, TargetError
from trtbench.client.registry import CLIENTS
from trtbench.engine.build import DEFAULT_OUTPUT
from trtbench.engine.spec import Engine
from trtbench.experiments.registry import roles
from trtbench.gpu.journal import Journal, journals, state_directory
from trtbench.load.load_phases import BeforeStage
from trtbench.load.tally import LoadProgress
from trtbench.run.bench import bench, prepare_bench
from trtbench.run.deploy import deployed
from trtbench.run.experiment_run import ExperimentRun, LoadSetting, send_load
from trtbench.run.load_run import ServerUnderLoad
from trtbench.run.log import Listener, RunLog, RunOutcome, resume_run, start_run
from trtbench.run.prepare import PreparedRun, prepare
from trtbench.run.resume import open_unfinished
from trtbench.run.text_plan import counting
from trtbench.rundir.directory import DeploymentDirectory
from trtbench.rundir.event_kinds import (
    DeploymentFinished,
    DeploymentSkipped,
    DeploymentStarted,
    EventData,
    Interrupted,
    RunFinished,
    ServerFault,
    ServerLost,
)
from trtbench.scenario.parts.choices import Dtype
from trtbench.scenario.scenario import Scenario
from trtbench.serving.repository.renderers import RENDERERS
from trtbench.serving.server.fleet import Fleet
from trtbench.serving.server.server import ServerError
from trtbench.serving.server.server_kinds import SERVERS, Server
from trtbench.system.interrupts import Terminated
from trtbench.telemetry.sources import SampledServer


def serve_and_bench(
    scenario: Scenario, runs: Path, command: list[str], listener: Listener, progress: LoadProgress, engines: Path = DEFAULT_OUTPUT
) -> RunOutcome:
    """Run a scenario from its checkpoint, or from its running endpoint, to a finished run directory.

    UserError if it cannot be run, before a server is started or a run directory is made. A later fault ends one deployment, the run
    continues with the next one, and the directory stays readable.
    """
    if scenario.endpoint:
        scenario = scenario.expanded()
        asked = prepare_bench(scenario, runs)
        return bench(asked, start_run(runs, scenario, command, listener), progress)
    prepared = prepare(scenario, runs, engines, listener)
    log = start_run(runs, prepared.scenario, command, listener)
    prepared.log_plans(log)
    return _run(prepared, frozenset(), log, progress)


def resume(path: Path, command: list[str], listener: Listener, progress: LoadProgress) -> RunOutcome:
    """Continue the run at `path`: finished deployments stay, the others are run. UserError, with the run unchanged, if it cannot
    continue.
    """
    unfinished = open_unfinished(path)
    if unfinished.scenario.endpoint:
        asked = prepare_bench(unfinished.scenario.expanded(), path)
        unfinished.check_plans([plan.sha256 for plan in asked.plans.values()])
        log = resume_run(unfinished.run, command, listener)
        unfinished.set_aside(log, list(asked.plans))
        return bench(asked, log, progress, unfinished.done)
    prepared = prepare(unfinished.scenario, path, DEFAULT_OUTPUT, listener)
    unfinished.check_engines(prepared.engines)
    unfinished.check_plans(list(prepared.drawn))
    log = resume_run(unfinished.run, command, listener)
    unfinished.set_aside(log, [f"{name}-{dtype}" for dtype, name in prepared.order])
    prepared.log_plans(log)
    return _run(prepared, unfinished.done, log, progress)


def _run(prepared: PreparedRun, done: Collection[str], log: RunLog, progress: LoadProgress) -> RunOutcome:
    """Run every deployment except those `done`, in the order of the scenario, or those that an experiment selects."""
    scenario = prepared.scenario
    selections = [selection for one in roles(ExperimentRun) if (selection := one.selection(scenario, log))]
    interrupted_by: int | None = None
    lost: list[str] = []
    try:
        with held_gpus(scenario, log) as before_stage_of:
            for dtype, name in prepared.order:
                directory = f"{name}-{dtype}"
                if directory in done or (interrupted_by is None and not all(one.wants(dtype, name) for one in selections)):
                    continue
                if interrupted_by is None:
                    before_stage = before_stage_of(directory) if before_stage_of else None
                    ended, interrupted_by = _run_deployment(prepared, name, dtype, log, progress, before_stage)
                    lost += [directory] if ended == "server_lost" else []
                else:
                    log.write(DeploymentSkipped(reason="interrupted"), directory)
    except KeyboardInterrupt as error:
        interrupted_by = signal.SIGTERM if isinstance(error, Terminated) else signal.SIGINT
        log.write(Interrupted(level=2))
    if interrupted_by is None:
        for selection in selections:
            selection.finish()
        log.write(RunFinished())
    return RunOutcome(log.run, interrupted_by, tuple(lost))


@contextmanager
def held_gpus(scenario: Scenario, log: RunLog) -> Iterator[Callable[[str], BeforeStage] | None]:
    """Hold the settings that `gpu` requests while the block runs; yields what to do before each stage of a deployment. Does nothing
    without `gpu`.
    """
    if scenario.gpu is None:
        yield None
        return
    from trtbench.gpu.control import held  # pynvml is loaded only where GPUs are asked for

    with held(scenario.gpu, log.write) as gpus:
        yield lambda deployment: partial(gpus.before_stage, lambda data: log.write(data, deployment))


def restore_left_gpus(tell: Callable[[EventData], None]) -> list[Journal]:
    """Restore the GPU settings that a killed run left, because figures must not be measured at another run's clocks.

    Returns the journals of runs that still hold GPUs, which are left alone.
    """
    if not journals(state_directory()):
        return []
    from trtbench.gpu.control import restore_left  # pynvml is loaded only where GPUs are asked for
    from trtbench.gpu.inventory import describe

    return restore_left(tell) if describe() else []


def _run_deployment(
    prepared: PreparedRun, name: str, dtype: Dtype, log: RunLog, progress: LoadProgress, before_stage: BeforeStage | None = None
) -> tuple[str, int | None]:
    """Run one deployment; returns (how it ended, the signal that interrupted it)."""
    engine = prepared.engines[f"{name}-{dtype}"]
    directory = log.run.deployment(f"{name}-{dtype}")
    repository = prepared.repositories[directory.name]
    log.write(DeploymentStarted(dtype=engine.dtype), directory.name)
    ended: str
    try:
        with deployed(prepared.resolved, name, engine, repository, directory, log) as fleet:
            server = _under_load(prepared, name, engine, fleet, directory, before_stage)
            setting = LoadSetting(server, prepared.scenario, prepared.prompts, prepared.draw, directory, log, progress)
            ended, signum = send_load(setting, prepared.plans[name])
            for fault in fleet.faults():
                log.write(ServerFault(cause=fault), directory.name)
    except (ServerError, TargetError) as error:
        log.write(ServerLost(cause=str(error)), directory.name)
        ended, signum = "server_lost", None
    log.write(DeploymentFinished(ended=ended), directory.name)
    return ended, signum


def _under_load(
    prepared: PreparedRun, name: str, engine: Engine, fleet: Fleet, directory: DeploymentDirectory, before_stage: BeforeStage | None
) -> ServerUnderLoad:
    """Write what the client found out about the running server into deployment.json, and return the server for the load."""
    scenario, plan = prepared.scenario, prepared.plans[name]
    facts = directory.deployment()
    url, *others = fleet.addresses
    kind = SERVERS[RENDERERS[engine.provider].server]
    classes = prepared.length_classes(directory.name, name)
    routed = classes if scenario.deployments[name].is_adaptive else ()
    options = RequestOptions(endpoint=kind.endpoint, streaming=scenario.workload.streaming, classes=routed)
    target = CLIENTS[kind.client].inspect(url, facts.model_name or "", settings=scenario.client, task=scenario.task, options=options)
    target, _ = target.padded(plan.longest_input_tokens)
    found: dict[str, Any] = {"tokens": target.token_facts(), "padded_to_tokens": target.padded_to_tokens, "length_classes": classes or None}
    directory.write_deployment(replace(facts, plan_sha256=plan.sha256, **found))
    companions = (one.companion(prepared, name, fleet.servers[0], directory) for one in roles(ExperimentRun))
    return ServerUnderLoad(
        target=target.with_servers(others),
        sampled=tuple(map(_sampled, fleet.servers)),
        end_id=engine.model_facts.eos_token_id,
        before_stage=before_stage,
        balancer_pid=fleet.balancer.pid if fleet.balancer else None,
        death=fleet.death,
        revise=counting(target, prepared.prompts),
        companion=next(filter(None, companions), None),
        models_of_classes=prepared.repositories[directory.name].models_of_classes,
    )


def _sampled(server: Server) -> SampledServer:
    endpoints = server.endpoints
    return SampledServer(endpoints.grpc or None, f"http://{endpoints.metrics}/metrics", server.pid)
