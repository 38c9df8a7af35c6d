"""ResolvedEndpoint: all that is known of a scenario's running endpoint before its server is asked anything."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from trtbench.client.protocol import ClientKind, RequestOptions, Target
from trtbench.client.registry import agreed, client_of_endpoint
from trtbench.engine.spec import Engine
from trtbench.engine.tensorrt_llm.adopt import describe
from trtbench.experiments.registry import roles
from trtbench.plan.plan_size import check_plan_size, check_requests
from trtbench.plan.sources.datasets import read_dataset
from trtbench.plan.sources.prompt_source import CorpusPrompts, PromptSource, UniformPrompts
from trtbench.run.resolve.experiment_preparation import ExperimentPreparation
from trtbench.run.resolve.preflight import check_levels, check_open_files
from trtbench.scenario.deployment.running_endpoint import RunningEndpoint
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.load.headers import metadata_of
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.scenario import Scenario
from trtbench.tasks.registry import TASKS
from trtbench.telemetry.page_check import metrics_address


@dataclass(frozen=True)
class ResolvedEndpoint:
    """A scenario whose endpoint can be asked. `settings` are those of its connections, with the key and the TLS of the endpoint.

    `engine` is what the server is said to serve, which nothing here can check.
    """

    asked: Scenario
    endpoint: RunningEndpoint
    settings: ClientSettings
    kind: ClientKind
    addresses: tuple[str, ...]
    metrics_url: str | None
    engine: Engine | None

    @property
    def scenario(self) -> Scenario:
        """The scenario as the load sends it, with `settings`; `asked` is the one that is recorded."""
        return self.asked.model_copy(update={"client": self.settings})

    @cached_property
    def prompts(self) -> PromptSource:
        """WorkloadError if the tokenizer cannot be read."""
        tokenizer, workload = self.endpoint.tokenizer, self.asked.workload
        if tokenizer is None:
            return UniformPrompts(self.endpoint.vocab_size)
        return CorpusPrompts.of_engine(tokenizer, workload.languages, self.asked.task)

    def inspect(self) -> Target:
        """Ask the servers about the model, and probe what they accept; TargetError, AddressError or UserError if it cannot be measured."""
        endpoint, streaming = self.endpoint, self.asked.workload.streaming
        options = RequestOptions(endpoint.type, endpoint.extra_inputs, endpoint.system_prompt, streaming)
        version = "" if endpoint.model_version is None else str(endpoint.model_version)
        about = {"settings": self.settings, "task": self.asked.task, "options": options}
        return agreed([self.kind.inspect(address, self.asked.model, version, **about) for address in self.addresses])


def resolve_endpoint(scenario: Scenario) -> ResolvedEndpoint:
    """Check all that can be checked on this machine alone; UserError for what cannot be requested of a running server."""
    endpoint = scenario.endpoint
    assert endpoint is not None, "the caller has found an endpoint in the scenario"
    for experiment in roles(ExperimentPreparation):
        experiment.check_scenario(scenario)
        experiment.check_existing_server(scenario)
    kind = client_of_endpoint(endpoint.type)
    if scenario.workload.lowest_priority_level and not kind.sends_priorities:
        raise ScenarioError(f"workload.priorities: requests to endpoint.type {endpoint.type} name no priority; leave them out")
    addresses = tuple(dict.fromkeys(map(kind.address, endpoint.urls)))
    engine = describe(endpoint.engine_dir) if endpoint.engine_dir else None
    settings = endpoint.connection(scenario.client)
    resolved = ResolvedEndpoint(scenario, endpoint, settings, kind, addresses, metrics_address(endpoint.metrics_url), engine)
    metadata_of(settings.headers)
    if engine:
        check_engine_positions(scenario, engine.model_facts.max_positions)
    _check_load(scenario)
    _ = resolved.prompts
    return resolved


def _check_load(scenario: Scenario) -> None:
    """UserError for a load that this machine cannot send, or a file of it that cannot be read."""
    for kind in scenario.workload.kinds.values():
        if kind.dataset:
            read_dataset(kind.dataset.path, kind.dataset.format)
    check_plan_size(scenario, scenario.load)
    check_levels(scenario)
    check_open_files(scenario)
    check_requests(scenario.load)


def check_engine_positions(scenario: Scenario, positions: int) -> None:
    """ScenarioError when the longest request that is drawn exceeds the `positions` of the engine that the server is said to serve."""
    workload = scenario.workload
    if not TASKS[scenario.task].draws_output_tokens or workload.dataset or any(stage.trace for stage in scenario.load):
        return
    if (longest := workload.longest_request_tokens) > positions:
        raise ScenarioError(
            f"workload.input_tokens {workload.input_tokens.max} and workload.output_tokens {workload.output_tokens.max} make requests of "
            f"{longest} tokens, the engine of endpoint.engine_dir has {positions} positions: lower one of them"
        )
