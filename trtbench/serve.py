"""Serve one engine of a scenario until told to stop."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TypeVar

from trtbench.clock import sleep_s
from trtbench.deploy import deployed
from trtbench.engine.build import DEFAULT_OUTPUT
from trtbench.errors import UserError
from trtbench.preflight import check_run
from trtbench.run import build, held_gpus
from trtbench.runlog import Listener, start_run
from trtbench.scenario import Scenario
from trtbench.serving.server import ServerError, check_ports_free

_POLL_S = 0.2
_Name = TypeVar("_Name", bound=str)


def serve(scenario: Scenario, dtype: str | None, deployment: str | None, ports: tuple[int, int, int], listener: Listener) -> None:
    """Returns never: ends by KeyboardInterrupt, or by ServerError when the server ends by itself. A port of 0 is chosen free."""
    engine_dtype = _choose("--engine", dtype, scenario.engines)
    name = _choose("--deployment", deployment, tuple(scenario.deployments))
    check_ports_free(ports)
    preflight = check_run(scenario, DEFAULT_OUTPUT)
    engine = build(scenario, [engine_dtype], DEFAULT_OUTPUT, listener)[engine_dtype]
    with tempfile.TemporaryDirectory(prefix="trtbench-serve-") as directory:
        log = start_run(Path(directory), scenario, [], listener)
        served = log.run.deployment(f"{name}-{engine_dtype}")
        with held_gpus(scenario, log), deployed(scenario, name, engine, preflight, served, log, ports) as fleet:
            model = served.read_json("deployment.json")["model_name"]
            if fleet.balancer:
                print(f"model {model}  gRPC {fleet.balancer.address} ({scenario.deployments[name].replicas.balancer}), before:")
            for server in fleet.servers:
                endpoints = server.endpoints
                print(f"model {model}  gRPC {endpoints.grpc}  HTTP {endpoints.http}  metrics {endpoints.metrics}")
            print("Ctrl-C stops it", flush=True)
            while (death := fleet.death()) is None:
                sleep_s(_POLL_S)
            raise ServerError(f"Triton ended by itself. {death}")


def _choose(flag: str, asked: str | None, there: tuple[_Name, ...]) -> _Name:
    if asked is None:
        return there[0]
    for name in there:
        if name == asked:
            return name
    raise UserError(f"{flag} {asked}: the scenario has {', '.join(there)}")
