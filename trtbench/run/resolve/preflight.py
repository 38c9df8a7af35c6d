"""Checks whether a client on this machine can send the load of a scenario, before anything is built or served."""

from __future__ import annotations

import math
import resource
import shutil
import tempfile
from pathlib import Path

from trtbench.client.registry import TRITON_CLIENT
from trtbench.engine.spec import ModelFacts
from trtbench.experiments.registry import roles
from trtbench.load.share import workers_for_streams
from trtbench.plan.plan_size import check_plan_size, check_requests, plan_size
from trtbench.plan.sources.datasets import read_dataset
from trtbench.plan.sources.trace import read_trace, trace_offsets
from trtbench.run.resolve.experiment_preparation import ExperimentPreparation
from trtbench.scenario.deployment.gpu_settings import GpuControl
from trtbench.scenario.load.headers import metadata_of
from trtbench.scenario.load.stage import Ramp, Stage
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.scenario import Scenario
from trtbench.tasks.registry import TASKS

MIN_FREE_BYTES = 512 << 20  # a run directory, and the server's log


def check_experiments(scenario: Scenario) -> None:
    """UserError for what an experiment cannot do with any server."""
    for experiment in roles(ExperimentPreparation):
        experiment.check_scenario(scenario)


def check_scenario(scenario: Scenario, facts: ModelFacts) -> None:
    """ScenarioError if a client on this machine cannot send the load to this model."""
    if facts.task != scenario.task:
        raise ScenarioError(
            f"task: {scenario.task}, but model {scenario.model} is {TASKS[facts.task].model}: "
            f"set task: {facts.task}, or choose another model"
        )
    check_levels(scenario)
    if scenario.client.tls:
        raise ScenarioError("client.tls: the server that is started here speaks plain gRPC; leave it out, or use `trtbench bench`")
    metadata_of(scenario.client.headers)
    for load in dict.fromkeys(scenario.load_of(name) for name in scenario.deployments):
        check_plan_size(scenario, load)
        check_requests(load)
    for kind in scenario.workload.kinds.values():
        if kind.dataset:
            read_dataset(kind.dataset.path, kind.dataset.format)
    for stage in scenario.load:
        if stage.trace:
            _check_trace(stage, stage.trace, facts)


def _check_trace(stage: Stage, path: Path, facts: ModelFacts) -> None:
    trace = read_trace(path, stage.trace_block_tokens, stage.trace_format)
    replayed = trace[: len(trace_offsets(trace, stage.speed, stage.requests, stage.duration_s))]
    longest = max(request.input_tokens + (request.output_tokens if TASKS[facts.task].draws_output_tokens else 0) for request in replayed)
    if longest > facts.max_positions:
        raise ScenarioError(
            f"load: stage {stage.label} replays a request of {longest} tokens from {path}, the model has {facts.max_positions} positions: "
            "filter the trace, or choose a model that reads more"
        )


def check_levels(scenario: Scenario) -> None:
    """ScenarioError for a closed loop with fewer requests than users, which would never reach its level."""
    for name in scenario.deployments:
        for stage in scenario.load_of(name):
            users = stage.level if stage.mode == "concurrency" and not isinstance(stage.concurrency, Ramp) else 0
            if stage.requests is not None and stage.requests < users:
                raise ScenarioError(
                    f"load: stage {stage.label} has {stage.requests} requests for {users:g} users, so that level is never reached: "
                    f"give it at least {users:g} requests (several for each user show a steady state), or a duration_s instead"
                )


def check_open_files(scenario: Scenario) -> None:
    """ScenarioError if a worker may not open as many connections as the users of a stage need."""
    loads = [stage for name in scenario.deployments for stage in scenario.load_of(name)]
    users = max((int(stage.level) for stage in loads if stage.mode == "concurrency"), default=0)
    workers = scenario.client.workers or workers_for_streams(users)
    streams = math.ceil(users / workers)
    files = TRITON_CLIENT.open_files(scenario.client, streams)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if resource.RLIM_INFINITY != hard < files:
        raise ScenarioError(
            f"load: {users} users need {files} open files in each of {workers} workers, the limit is {hard} (RLIMIT_NOFILE): "
            f"raise it (`ulimit -n {files}`), set client.streams_per_connection higher, or use more client.workers"
        )


def check_plan_fits(scenario: Scenario, runs: Path) -> None:
    """ScenarioError if `runs` has no space for the plans that a run saves, one for each deployment on each engine."""
    of_load = {load: plan_size(scenario, load).disk_bytes for load in {scenario.load_of(name) for name in scenario.deployments}}
    needed = len(scenario.engines) * sum(of_load[scenario.load_of(name)] for name in scenario.deployments) + MIN_FREE_BYTES
    free = shutil.disk_usage(runs).free
    if needed > free:
        raise ScenarioError(
            f"load: the plans of {len(scenario.deployments) * len(scenario.engines)} deployments and what a run needs besides take "
            f"{needed >> 20:,} MiB, {runs} has {free >> 20:,} MiB free: lower requests, use fewer deployments, or choose another directory"
        )


def check_writable(directory: Path) -> None:
    """Make `directory`; ScenarioError if files cannot be written there or there is no space."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise ScenarioError(f"{directory} cannot be written to ({error.strerror}): choose another directory") from error
    free_bytes = shutil.disk_usage(directory).free
    if free_bytes < MIN_FREE_BYTES:
        raise ScenarioError(f"{directory} has {free_bytes >> 20} MiB free, a run needs {MIN_FREE_BYTES >> 20}: free some or choose another")


def check_gpu_control(asked: GpuControl) -> None:
    """UserError if the GPUs cannot be held as requested."""
    from trtbench.gpu.control import check_gpus  # pynvml is loaded only where GPUs are asked for

    check_gpus(asked)
