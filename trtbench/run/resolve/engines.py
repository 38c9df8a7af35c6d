"""Which engine each deployment is served by, and the building of all of them: equal ones are built once."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trtbench.engine.build import plan_engine
from trtbench.engine.spec import BuildLog, Engine, EngineProvider, EngineSpec
from trtbench.run.log import Listener
from trtbench.rundir.event_kinds import BuildStepStarted, EngineBuilt
from trtbench.rundir.events import event_of
from trtbench.scenario.deployment.build_options import BuildOptions, Dtype
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.scenario import Scenario
from trtbench.system.clock import now_ns


def spec_of(scenario: Scenario, provider: EngineProvider, deployment: Deployment, dtype: Dtype) -> EngineSpec:
    """What `deployment` is served by. `provider`: the one that was found, which `scenario` may leave open."""
    build = _built_for(scenario.build, deployment) if provider.traits.builds_per_scheduler_limits else scenario.build
    return EngineSpec(model=scenario.model, dtype=dtype, provider=scenario.provider, build=build)


def _built_for(build: BuildOptions, deployment: Deployment) -> BuildOptions:
    """In-flight limits that belong to the engine: those that `build` leaves open are the scheduler's."""
    if build.engine_dir:
        return build
    scheduler = deployment.scheduler
    limits = {
        "max_batch_size": build.max_batch_size or scheduler.max_sequences,
        "max_num_tokens": build.max_num_tokens or scheduler.max_tokens_per_step,
    }
    return build.model_copy(update=limits)


def specs_of(scenario: Scenario, provider: EngineProvider) -> dict[str, EngineSpec]:
    """By deployment directory, of every precision that is served or that a reload changes to."""
    deployments = scenario.deployments.items()
    return {f"{name}-{dtype}": spec_of(scenario, provider, one, dtype) for dtype in scenario.dtypes for name, one in deployments}


def build(specs: Mapping[str, EngineSpec], provider: EngineProvider, engines: Path, listener: Listener) -> dict[str, Engine]:
    """The engine of each checked spec, from the cache or newly built, equal ones once; the listener receives each step.

    What any of them lacks is an EngineError before the first is built.
    """
    logs = {spec.model_dump_json(): (spec, _log(spec.dtype, listener)) for spec in specs.values()}
    planned = {key: plan_engine(spec, provider, engines, log) for key, (spec, log) in logs.items()}
    found = {}
    for key, one in planned.items():
        log = logs[key][1]
        built = one.engine(log)
        engine = found[key] = built.engine
        done = EngineBuilt(dtype=engine.dtype, cached=built.cached, size_bytes=engine.size_bytes, sha256=engine.sha256, steps=log.steps)
        listener(event_of(now_ns(), done))
    return {name: found[spec.model_dump_json()] for name, spec in specs.items()}


def _log(dtype: Dtype, listener: Listener) -> BuildLog:
    return BuildLog(lambda step: listener(event_of(now_ns(), BuildStepStarted(dtype=dtype, step=step))))
