"""Load on a running endpoint, which trtbench did not start."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from trtbench.client.protocol import Target
from trtbench.engine.build import PROVIDERS
from trtbench.engine.spec import Engine
from trtbench.experiments.registry import roles
from trtbench.load.tally import LoadProgress
from trtbench.plan.draw import draw_plan
from trtbench.plan.plan import Plan
from trtbench.plan.sources.tensors.rows import TensorRows, open_rows
from trtbench.run.experiment_run import ExperimentRun, LoadSetting, send_load
from trtbench.run.load_run import ServerUnderLoad
from trtbench.run.log import RunLog, RunOutcome
from trtbench.run.resolve.preflight import check_writable
from trtbench.run.resolve.resolved_endpoint import ResolvedEndpoint, resolve_endpoint
from trtbench.run.text_plan import check_counting, check_sessions, check_text, counting, in_text
from trtbench.rundir.deployment_facts import DeploymentFile
from trtbench.rundir.directory import DeploymentDirectory
from trtbench.rundir.event_kinds import DeploymentFinished, DeploymentStarted, RunFinished
from trtbench.scenario.parts.part import NAME_PATTERN, ScenarioError
from trtbench.scenario.scenario import Scenario
from trtbench.system.foreign_text import shown
from trtbench.telemetry.page_check import check_page, page_fault
from trtbench.telemetry.request_metrics import page_beside
from trtbench.telemetry.sources import SampledServer

_DIRECTORY_CHARACTERS = 64
_PAGE_S = 5.0
_TAKEN = ("scenario.yaml", "environment.json", "events.jsonl", "summary.json", "report.md", "report.html", "plots")


@dataclass(frozen=True)
class PreparedBench:
    """A running endpoint that has been asked, and the plan of its load in each round, by directory. `draw` makes the plan of a scenario;
    `notes` are for the run.
    """

    endpoint: ResolvedEndpoint
    target: Target
    sampled: SampledServer
    draw: Callable[[Scenario], Plan]
    plans: Mapping[str, Plan]
    notes: tuple[str, ...]


def prepare_bench(scenario: Scenario, runs: Path) -> PreparedBench:
    """Check the scenario, ask its endpoint and draw the plans; UserError, before a run directory is made, if it cannot be measured."""
    endpoint = resolve_endpoint(scenario)
    target, prompts = endpoint.inspect(), endpoint.prompts
    if endpoint.metrics_url:
        check_page(endpoint.metrics_url)
    check_sessions(scenario, target)
    if target.takes_text:
        check_text(scenario, f"model {target.model!r}", target.counts_tokens)
    if not (target.takes_text or target.counts_tokens):
        check_counting(target, prompts)
    inputs, takes_text = _inputs(scenario, target), target.takes_text

    def draw(asked: Scenario) -> Plan:
        plan = draw_plan(asked, prompts, inputs)
        return in_text(plan, prompts) if takes_text else plan

    plans = {directory: draw(scenario.planned(name)) for directory, name in _directories(scenario, target).items()}
    target, note = target.padded(max(plan.longest_input_tokens for plan in plans.values()))
    sampled, pages = _sampled(target, endpoint.metrics_url)
    check_writable(runs)
    return PreparedBench(endpoint, target, sampled, draw, plans, (*([note] if note else []), *target.notes(), *pages))


def bench(prepared: PreparedBench, log: RunLog, progress: LoadProgress, done: Collection[str] = ()) -> RunOutcome:
    """Put a running endpoint under its scenario's load, round by round except those `done`, until a round is interrupted or loses the
    server, or an experiment wants no more. Nothing of the server is started, changed or stopped.
    """
    scenario, signum = prepared.endpoint.scenario, None
    for number, plan in enumerate(prepared.plans.values()):
        log.write(plan.facts(*(prepared.notes if number == 0 else ())))
    selections = [selection for one in roles(ExperimentRun) if (selection := one.selection(scenario, log))]
    for directory, name in zip(prepared.plans, scenario.deployments, strict=True):
        if directory in done:
            continue
        if not all(one.wants(scenario.engines[0], name) for one in selections):
            break
        ended, signum = _load(prepared, log.run.deployment(directory), log, progress)
        if ended == "server_lost":
            log.write(RunFinished())
            return RunOutcome(log.run, signum, (directory,))
        if signum is not None:
            return RunOutcome(log.run, signum, ())
    for selection in selections:
        selection.finish()
    log.write(RunFinished())
    return RunOutcome(log.run, None, ())


def _load(prepared: PreparedBench, directory: DeploymentDirectory, log: RunLog, progress: LoadProgress) -> tuple[str, int | None]:
    """Send the plan of one round; returns how it ended, and the signal that interrupted it."""
    endpoint, target, plan = prepared.endpoint, prepared.target, prepared.plans[directory.name]
    log.write(DeploymentStarted(), directory.name)
    facts = _of_target(directory.name, target, plan)
    if endpoint.engine:
        facts = _with_engine(facts, endpoint.engine)
        directory.write_engine(endpoint.engine.facts())
    directory.write_deployment(facts)
    revise = counting(target, endpoint.prompts)
    under_load = ServerUnderLoad(target, (prepared.sampled,), endpoint.endpoint.eos_id, revise=revise)
    setting = LoadSetting(under_load, endpoint.scenario, endpoint.prompts, prepared.draw, directory, log, progress)
    ended, signum = send_load(setting, plan)
    log.write(DeploymentFinished(ended=ended), directory.name)
    return ended, signum


def _directories(scenario: Scenario, target: Target) -> dict[str, str]:
    """The deployment of the scenario by its directory, which has the model's name, with the round if there are rounds."""
    rounds, model = scenario.rounds, directory_name(target.model)
    numbers = {name: f"-r{rounds.round_of(name)}" if rounds else "" for name in scenario.deployments}
    return {f"{model[: _DIRECTORY_CHARACTERS - len(number)]}{number}": name for name, number in numbers.items()}


def _inputs(scenario: Scenario, target: Target) -> TensorRows | None:
    """The rows of tensors that requests carry, or None if they carry prompts. ScenarioError for data that the model cannot take."""
    if target.tensors is None:
        return None
    turns = scenario.workload.sessions is not None
    if target.tensors.keeps_state != turns:
        name = f"model {shown(target.model)!r}"
        if turns:
            raise ScenarioError(f"{name} keeps no state of sequences: leave out workload.sessions")
        raise ScenarioError(f"{name} keeps the state of sequences: give workload.sessions.turns, the requests of one")
    return open_rows(scenario.workload.tensors, target.tensors, scenario.seeds.prompts)


def _of_target(name: str, target: Target, plan: Plan) -> DeploymentFile:
    """Facts of a server that trtbench did not start."""
    of_load = replace(target.server_facts(), plan_sha256=plan.sha256, padded_to_tokens=target.padded_to_tokens)
    return replace(of_load, name=name, mode="external", tokens=target.token_facts())


def _sampled(target: Target, metrics_url: str | None) -> tuple[SampledServer, list[str]]:
    """What is read of the server, and a note if its page of metrics cannot be read. `metrics_url`: the page that the user named."""
    url, notes = metrics_url, []
    if url is None and target.metrics_url:
        fault = page_fault(target.metrics_url)
        url = None if fault else target.metrics_url
        notes = [f"the server's metrics are not read ({target.metrics_url}: {fault})"] if fault else []
    requests_url = page_beside(url, _PAGE_S) if url else None
    return SampledServer(target.statistics_address, url, None, requests_url), notes


def directory_name(model: str) -> str:
    """The name of the deployment's directory: the model's name, with characters replaced that a directory of the run cannot have."""
    name = "".join(character if re.fullmatch("[A-Za-z0-9._-]", character) else "_" for character in model[:_DIRECTORY_CHARACTERS])
    usable = re.fullmatch(NAME_PATTERN, name) and name not in _TAKEN
    return name if usable else f"model-{name}"[:_DIRECTORY_CHARACTERS]


def _with_engine(facts: DeploymentFile, engine: Engine) -> DeploymentFile:
    provider = PROVIDERS.get(engine.provider)
    named = replace(facts, dtype=engine.dtype, provider=engine.provider, traits=provider.traits.as_json() if provider else None)
    if engine.kv_dtype == "auto":
        return named  # the deployment decided it, and that is not ours
    per_token = engine.model_facts.kv_bytes_per_token(engine.kv_dtype)
    return replace(named, kv_dtype=engine.kv_dtype, kv_block_tokens=engine.kv_block_tokens, kv_bytes_per_token=per_token)
