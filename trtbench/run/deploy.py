"""Deploys one engine: its model repository, servers, log and facts in a deployment directory."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from trtbench.engine.spec import ENGINE_JSON, Engine
from trtbench.run.log import RunLog
from trtbench.run.resolve.resolved import ResolvedScenario
from trtbench.rundir.deployment_facts import DeploymentFile
from trtbench.rundir.directory import DeploymentDirectory
from trtbench.rundir.event_kinds import ServerReady, ServerStarting
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.serving.repository.model_repository import MODEL_VERSION, RenderedRepository
from trtbench.serving.repository.renderers import RENDERERS
from trtbench.serving.server.fleet import Fleet
from trtbench.serving.server.launch import cache_flags
from trtbench.serving.server.log_facts import log_facts
from trtbench.serving.server.server_kinds import SERVERS

REPOSITORY = "model_repository"


@contextmanager
def deployed(
    resolved: ResolvedScenario,
    name: str,
    engine: Engine,
    repository: RenderedRepository,
    directory: DeploymentDirectory,
    log: RunLog,
    ports: tuple[int, int, int] = (0, 0, 0),
) -> Iterator[Fleet]:
    """`engine` served as deployment `name`, with its repository, logs and facts in `directory`.

    `ports` are the first server's; 0 means any free port.
    """
    deployment, kind = resolved.scenario.deployments[name], SERVERS[RENDERERS[engine.provider].server]
    installation = resolved.installed(kind)
    root = repository.write(directory.path / REPOSITORY)
    if repository.config_file:
        shutil.copyfile(root / repository.model_name / repository.config_file, directory.path / repository.config_file)
    shutil.copyfile(engine.path / ENGINE_JSON, directory.path / ENGINE_JSON)
    log.show(ServerStarting(), directory.name)
    flags = (*repository.server_flags, *cache_flags(deployment.response_cache, installation))
    gpus = [resolved.devices[gpu] for gpu in deployment.replicas.gpus]
    with Fleet(installation, root, directory.server_log, deployment.replicas, flags, ports, repository.launch, gpus, kind.start) as fleet:
        facts = _deployment_facts(directory.name, name, deployment, engine, repository, fleet)
        version: dict[str, Any] = {kind.version_fact: kind.reported(fleet.servers[0].version())}
        directory.write_deployment(replace(facts, traits=resolved.provider_of(name).traits.as_json(), **version))
        for server in fleet.servers:
            log.write(ServerReady(seconds=round(server.ready_s, 2), **asdict(server.endpoints)), directory.name)
        yield fleet


def _deployment_facts(
    name: str, deployment_name: str, deployment: Deployment, engine: Engine, repository: RenderedRepository, fleet: Fleet
) -> DeploymentFile:
    server, balancer = fleet.servers[0], fleet.balancer
    log, kv = log_facts(server.log.read_text(encoding="utf-8", errors="replace")), repository.kv
    return DeploymentFile(
        kv_blocks=(log.blocks(kv.block_tokens) or kv.blocks) if kv else None,
        kv_dtype=kv.dtype if kv else None,
        kv_block_tokens=kv.block_tokens if kv else None,
        kv_bytes_per_token=kv.bytes_per_token if kv else None,
        name=name,
        deployment=deployment_name,
        mode="own",
        dtype=engine.dtype,
        provider=engine.provider,
        model_name=repository.model_name,
        model_version=MODEL_VERSION if repository.config_file else None,
        config=(repository.served or deployment).model_dump(mode="json"),
        max_batch_size=max(one.max_batch_size for one in (deployment.of_classes or {"": deployment}).values()),
        max_positions=repository.positions or engine.model_facts.max_positions,
        longest_prompt_tokens=repository.longest_prompt_tokens,
        server_flags=server.command[1:],
        load_seconds=round(fleet.ready_s, 2),
        log=log.known(),
        servers=len(fleet.servers),
        balancer_version=balancer.version() if balancer else None,
    )
