"""Serve one engine of a scenario until it is interrupted."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from trtbench.engine.build import DEFAULT_OUTPUT
from trtbench.errors import UserError
from trtbench.run.deploy import deployed
from trtbench.run.execute import held_gpus
from trtbench.run.log import Listener, start_run
from trtbench.run.prepare import build_engines, check_machine, render_all
from trtbench.run.resolve.resolved import resolve
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.scenario import Scenario
from trtbench.serving.repository.renderers import RENDERERS
from trtbench.serving.server.server import ServerError, check_ports_free
from trtbench.serving.server.server_kinds import SERVERS
from trtbench.system.clock import sleep_s
from trtbench.system.leftovers import temporary_directory

_POLL_S = 0.2
_Name = TypeVar("_Name", bound=str)


def serve(scenario: Scenario, dtype: str | None, deployment: str | None, ports: tuple[int, int, int], listener: Listener) -> None:
    """Serve until interrupted. It never returns: it ends by KeyboardInterrupt, or by ServerError if the server ends by itself. A port
    of 0 means any free port.
    """
    if scenario.endpoint:
        raise ScenarioError("endpoint: its server runs already: measure it with `trtbench serve-and-bench`, or leave endpoint out")
    resolved = resolve(scenario)
    scenario = resolved.scenario
    engine_dtype = _choose("--engine", dtype, scenario.engines)
    name = _choose("--deployment", deployment, tuple(scenario.deployments))
    check_ports_free(ports)
    check_machine(resolved, DEFAULT_OUTPUT)
    served = f"{name}-{engine_dtype}"
    engines = build_engines({served: resolved.specs[served]}, resolved.provider, DEFAULT_OUTPUT, listener)
    repository = render_all(resolved, engines)[served]
    with temporary_directory() as runs:
        log = start_run(Path(runs), scenario, [], listener)
        directory = log.run.deployment(served)
        with held_gpus(scenario, log), deployed(resolved, name, engines[served], repository, directory, log, ports) as fleet:
            model = directory.deployment().model_name
            if fleet.balancer:
                print(f"model {model}  gRPC {fleet.balancer.address} ({scenario.deployments[name].replicas.balancer}), before:")
            for server in fleet.servers:
                endpoints = server.endpoints
                grpc = f"  gRPC {endpoints.grpc}" if endpoints.grpc else ""
                print(f"model {model}{grpc}  HTTP {endpoints.http}  metrics {endpoints.metrics}")
            print("Ctrl-C stops it", flush=True)
            while (death := fleet.death()) is None:
                sleep_s(_POLL_S)
            raise ServerError(f"{SERVERS[RENDERERS[engines[served].provider].server].title} ended by itself. {death}")


def _choose(flag: str, asked: str | None, there: tuple[_Name, ...]) -> _Name:
    if asked is None:
        return there[0]
    for name in there:
        if name == asked:
            return name
    raise UserError(f"{flag} {asked}: the scenario has {', '.join(there)}")
