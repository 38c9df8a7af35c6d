"""ResolvedScenario: a scenario that this machine can run, with the results of the checks. Each check is done once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from trtbench.engine.build import OF_SERVERS, check_spec, provider_of
from trtbench.engine.checkpoint import model_facts
from trtbench.engine.spec import EngineForecast, EngineProvider, EngineSpec, ModelFacts
from trtbench.run.resolve.deployment_checks import DeploymentChecks, Devices, named_devices
from trtbench.run.resolve.preflight import check_experiments, check_scenario
from trtbench.run.resolve.preview import MemoryNeed, Preview, build_needs, preview, serving_needs
from trtbench.run.resolve.provider_fit import fitted
from trtbench.scenario.deployment.build_options import BuildOptions
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.parts.choices import Dtype
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.scenario import Scenario
from trtbench.serving.repository.model_repository import KvBudget
from trtbench.serving.server.installation import TritonInstallation, find_tritonserver
from trtbench.serving.server.server_kinds import ServerKind


@dataclass(frozen=True)
class ResolvedScenario:
    """A scenario with the results of the checks. `scenario`: with the provider's decisions filled in. `specs`: by deployment directory,
    for every engine that is served or reloaded.

    `budgets`: the KV cache of each deployment by name; none for an encoder. Properties that only some callers need are computed on first
    use.
    """

    scenario: Scenario
    provider: EngineProvider
    facts: ModelFacts
    forecasts: Mapping[Dtype, EngineForecast]
    specs: Mapping[str, EngineSpec]
    budgets: Mapping[str, KvBudget]
    devices: Devices

    @cached_property
    def installation(self) -> TritonInstallation:
        """The Triton to serve with; InstallationError if there is none."""
        return find_tritonserver()

    def installed(self, kind: ServerKind) -> Any:
        """The installation of servers of this kind; UserError if there is none."""
        return kind.find() if kind.find else self.installation

    def provider_of(self, deployment: str) -> EngineProvider:
        """The provider of a deployment's engines."""
        return serving_provider(self.scenario.deployments[deployment], self.provider)

    @cached_property
    def distinct_specs(self) -> tuple[EngineSpec, ...]:
        """Each engine spec once, in order."""
        return tuple({spec.model_dump_json(): spec for spec in self.specs.values()}.values())

    @cached_property
    def preview(self) -> Preview:
        """Stages, request counts, expected duration and KV feasibility."""
        return preview(self.scenario, self.budgets)

    @cached_property
    def memory(self) -> tuple[MemoryNeed, ...]:
        """GPU memory needed by builds, then by servers. The preview has the KV cache of a CPU engine, which is the memory of it that
        grows.
        """
        builds = [need for dtype, forecast in self.forecasts.items() for need in build_needs(dtype, forecast)]
        if not self.provider.traits.uses_gpus:
            return tuple(builds)
        return (*builds, *serving_needs(self.scenario, self.forecasts, self.facts, self.budgets, self.devices))


def resolve(scenario: Scenario) -> ResolvedScenario:
    """Check the scenario against its model and this machine's providers; UserError if it cannot be run."""
    check_experiments(scenario)
    specs = [EngineSpec(model=scenario.model, dtype=dtype, provider=scenario.provider, build=scenario.build) for dtype in scenario.dtypes]
    provider = provider_of(specs[0])
    for spec in specs:
        check_spec(spec, provider)
    facts = model_facts(scenario.model)
    scenario = fitted(scenario, provider)
    check_scenario(scenario, facts)
    forecasts = {spec.dtype: provider.forecast(spec) for spec in specs}
    specs_by_directory = specs_of(scenario, provider)
    _check_servers(scenario)
    devices, no_gpu = named_devices(scenario)
    budgets = DeploymentChecks(scenario, provider, facts, forecasts, specs_by_directory, devices, no_gpu).budgets()
    return ResolvedScenario(scenario, provider, facts, forecasts, specs_by_directory, budgets, devices)


def serving_provider(deployment: Deployment, provider: EngineProvider) -> EngineProvider:
    """The provider of a deployment's engines; `provider` is the scenario's."""
    return OF_SERVERS.get(deployment.server, provider)


def _check_servers(scenario: Scenario) -> None:
    """ScenarioError if the server of a deployment cannot serve the scenario's engines here."""
    for name, deployment in scenario.deployments.items():
        if own := OF_SERVERS.get(deployment.server):
            specs = [EngineSpec(model=scenario.model, dtype=dtype, provider=own.name) for dtype in scenario.dtypes]
            unfit = None if scenario.task in own.tasks else f"it serves {' and '.join(own.tasks)}, the scenario's task is {scenario.task}"
            if reason := unfit or own.unavailable() or next(filter(None, map(own.refusal, specs)), None):
                raise ScenarioError(f"deployments.{name}.server = {deployment.server!r}: {reason}")


def spec_of(scenario: Scenario, provider: EngineProvider, deployment: Deployment, dtype: Dtype) -> EngineSpec:
    """The engine spec of a deployment. `provider`: the one that was chosen, which `scenario` may leave open."""
    if deployment.server in OF_SERVERS:
        return EngineSpec(model=scenario.model, dtype=dtype, provider=OF_SERVERS[deployment.server].name)
    build = _built_for(scenario.build, deployment) if provider.traits.builds_per_scheduler_limits else scenario.build
    return EngineSpec(model=scenario.model, dtype=dtype, provider=scenario.provider, build=build)


def _built_for(build: BuildOptions, deployment: Deployment) -> BuildOptions:
    """The build options with the scheduler's in-flight limits if `build` leaves them open, because an engine is built for them."""
    if build.engine_dir:
        return build
    scheduler = deployment.scheduler
    limits = {
        "max_batch_size": build.max_batch_size or scheduler.max_sequences,
        "max_num_tokens": build.max_num_tokens or scheduler.max_tokens_per_step,
    }
    return build.model_copy(update=limits)


def specs_of(scenario: Scenario, provider: EngineProvider) -> dict[str, EngineSpec]:
    """The engine spec of each deployment directory, for every precision that is served or that a reload changes to."""
    deployments = scenario.deployments.items()
    return {f"{name}-{dtype}": spec_of(scenario, provider, one, dtype) for dtype in scenario.dtypes for name, one in deployments}
