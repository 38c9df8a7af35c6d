"""Everything that a run needs before its directory is made: the resolved scenario, its engines, their repositories, its plans."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from trtbench.engine.build import OF_SERVERS, plan_engine
from trtbench.engine.spec import BuildLog, Engine, EngineProvider, EngineSpec, ModelFacts
from trtbench.experiments.registry import roles
from trtbench.plan.draw import draw_plan
from trtbench.plan.plan import Plan
from trtbench.plan.sources.prompt_source import CorpusPrompts, PromptSource, UniformPrompts
from trtbench.plan.sources.tensors.rows import TensorRows, open_rows
from trtbench.plan.sources.tensors.tensor import ModelTensors, TensorSpec
from trtbench.run.length_routing import length_classes
from trtbench.run.log import Listener, RunLog
from trtbench.run.resolve.experiment_preparation import ExperimentPreparation
from trtbench.run.resolve.preflight import check_gpu_control, check_open_files, check_plan_fits, check_writable
from trtbench.run.resolve.resolved import ResolvedScenario, resolve
from trtbench.run.text_plan import check_text, in_text
from trtbench.rundir.deployment_facts import ServedClass
from trtbench.rundir.event_kinds import BuildStepStarted, EngineBuilt
from trtbench.rundir.events import event_of
from trtbench.scenario.deployment.rounds import run_order
from trtbench.scenario.load.measurement import Seeds
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.parts.choices import Dtype
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.scenario import Scenario
from trtbench.serving.repository.model_repository import RenderedRepository
from trtbench.serving.repository.renderers import RENDERERS, render
from trtbench.serving.server.balancer import find_balancer
from trtbench.serving.server.launch import cache_flags
from trtbench.serving.server.server_kinds import SERVERS
from trtbench.system.clock import now_ns
from trtbench.tasks.registry import TASKS


@dataclass(frozen=True)
class PreparedRun:
    """A run that is ready to start. `engines` and `repositories` are by deployment directory, for every engine that is served or
    reloaded; `plans` are by deployment. `draw` makes the plan of a scenario, with the prompts of this run.
    """

    resolved: ResolvedScenario
    engines: Mapping[str, Engine]
    repositories: Mapping[str, RenderedRepository]
    prompts: PromptSource
    draw: Callable[[Scenario], Plan]
    plans: Mapping[str, Plan]

    @property
    def scenario(self) -> Scenario:
        return self.resolved.scenario

    @property
    def drawn(self) -> dict[str, Plan]:
        """Each distinct plan once, by its hash."""
        return {plan.sha256: plan for plan in self.plans.values()}

    @property
    def order(self) -> Iterator[tuple[Dtype, str]]:
        """(Engine, deployment) in the order of the run."""
        scenario = self.scenario
        return run_order(scenario.rounds, list(scenario.deployments), scenario.engines, scenario.seeds.order)

    def length_classes(self, directory: str, deployment: str) -> tuple[ServedClass, ...]:
        """The length classes of a deployment; () if it has none. ScenarioError if its plan has no request of one of them."""
        batching = self.scenario.deployments[deployment].batching
        return length_classes(batching, self.plans[deployment], self.repositories[directory].models_of_classes) if batching else ()

    def log_plans(self, log: RunLog) -> None:
        for plan in self.drawn.values():
            log.write(plan.facts())


def prepare(scenario: Scenario, runs: Path, engines: Path, listener: Listener) -> PreparedRun:
    """Check, build, render and draw. UserError, without a server started, for a scenario that cannot be run."""
    resolved = resolve(scenario)
    check_machine(resolved, runs, engines)
    scenario = resolved.scenario
    renderers = {name: RENDERERS[resolved.provider_of(name).name] for name in scenario.deployments}
    texts = [name for name, deployment in scenario.deployments.items() if renderers[name].takes_text(deployment)]
    if texts:  # which release serves it, and so whether it counts tokens, is not known yet
        check_text(scenario, f"deployments.{texts[0]}", counts_tokens=False)
    built = build_engines(resolved.specs, resolved.provider, engines, listener)
    repositories = render_all(resolved, built)
    inputs = _inputs(scenario, resolved.facts)
    prompts = _prompts(next(iter(built.values())), scenario)

    def draw(asked: Scenario) -> Plan:
        plan = draw_plan(asked, prompts, inputs)
        return in_text(plan, prompts) if texts else plan  # deployments that take ids have the same prompts

    prepared = PreparedRun(resolved, built, repositories, prompts, draw, _draw_plans(scenario, draw))
    for dtype, name in prepared.order:
        prepared.length_classes(f"{name}-{dtype}", name)
    return prepared


_BUILDERS = {provider.name: provider for provider in OF_SERVERS.values()}


def build_engines(specs: Mapping[str, EngineSpec], provider: EngineProvider, engines: Path, listener: Listener) -> dict[str, Engine]:
    """The engine of each checked spec, from the cache or newly built, equal specs once; the listener receives each step.
    `provider` builds those whose deployment names no server with a provider of its own.

    A missing requirement of any of them is an EngineError before the first is built.
    """
    logs = {spec.model_dump_json(): (spec, _log(spec.dtype, listener)) for spec in specs.values()}
    planned = {key: plan_engine(spec, _BUILDERS.get(spec.provider, provider), engines, log) for key, (spec, log) in logs.items()}
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


def check_machine(resolved: ResolvedScenario, *directories: Path) -> None:
    """UserError if there is no Triton, no balancer, no idle GPU to hold, too few open files, or too little space in the directories."""
    scenario = resolved.scenario
    check_open_files(scenario)
    if scenario.gpu:
        check_gpu_control(scenario.gpu)
    for balancer in {deployment.replicas.balancer for deployment in scenario.deployments.values()} - {"client"}:
        find_balancer(balancer)
    for name, deployment in scenario.deployments.items():
        renderer = RENDERERS[resolved.provider_of(name).name]
        try:
            cache_flags(deployment.response_cache, resolved.installed(SERVERS[renderer.server]))
        except ScenarioError as error:
            raise ScenarioError(f"deployments.{name}.{error}") from error
        renderer.check_installed(deployment)
    for directory in directories:
        check_writable(directory)
    check_plan_fits(scenario, directories[0])


def render_all(resolved: ResolvedScenario, engines: Mapping[str, Engine]) -> dict[str, RenderedRepository]:
    """The repository of each engine, by deployment directory; UserError, before anything is served, for an engine and a deployment that
    do not fit.
    """
    scenario = resolved.scenario
    names = {f"{name}-{dtype}": name for name in scenario.deployments for dtype in scenario.dtypes}
    found = {}
    for directory, engine in engines.items():
        repository = render(engine, scenario.deployments[names[directory]], scenario.workload)
        for experiment in roles(ExperimentPreparation):
            repository = experiment.repository(scenario, repository)
        repository.launch.check()
        found[directory] = repository
    return found


def _prompts(engine: Engine, scenario: Scenario) -> PromptSource:
    """The source of prompts. Requests with tensors have none, and their model has no tokenizer."""
    if TASKS[scenario.task].sends_tensors:
        return UniformPrompts(1)
    return CorpusPrompts.of_engine(engine.path, scenario.workload.languages, scenario.task)


def _inputs(scenario: Scenario, facts: ModelFacts) -> TensorRows | None:
    """The rows of pictures that requests carry, which every deployment takes; None if they carry prompts."""
    if not facts.image_shape:
        return None
    pictures, smallest = tuple(facts.image_shape), min(deployment.max_batch_size for deployment in scenario.deployments.values())
    inputs, outputs = (TensorSpec("pixel_values", "FP32", pictures),), (TensorSpec("logits", "FP32", (facts.labels,)),)
    model = ModelTensors(inputs, outputs, smallest, decoupled=False, keeps_state=False)
    return open_rows(scenario.workload.tensors, model, scenario.seeds.prompts)


def _draw_plans(scenario: Scenario, draw: Callable[[Scenario], Plan]) -> dict[str, Plan]:
    """The plan of each deployment. Deployments with the same load and seeds share one."""
    planned = {name: scenario.planned(name) for name in scenario.deployments}
    keys = {name: (one.load, one.seeds) for name, one in planned.items()}
    drawn: dict[tuple[tuple[Stage, ...], Seeds], Plan] = {}
    for name, key in keys.items():
        if key not in drawn:
            drawn[key] = draw(planned[name])
    return {name: drawn[key] for name, key in keys.items()}
