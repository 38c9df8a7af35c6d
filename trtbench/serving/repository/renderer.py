"""Renderer: how the engines of one provider become a model repository, and what the provider cannot serve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trtbench.engine.spec import Engine, EngineSpec, ModelFacts
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository.model_repository import KvBudget, RenderedRepository


@dataclass(frozen=True)
class Renderer:
    """Rendering of a provider's engines. `kv_budget` and `check_spec` are called before there is an engine, `repository` with one; each
    refuses what the provider cannot serve, and `check_installed` what this machine cannot serve.

    A renderer without `kv_budget` serves only encoders. `reads` is the part of a deployment that only this provider reads. `takes_text` is
    whether the model takes text in place of token ids. `no_reload` is why the model of a deployment cannot be reloaded while it is served,
    or None if it can. `no_length_classes` is why length classes cannot be served apart, or None if they can. `server` is the name in
    SERVERS of the server that serves it.
    """

    kv_budget: Callable[[ModelFacts, int, Deployment, Workload], KvBudget] | None
    repository: Callable[[Engine, Deployment, Workload], RenderedRepository]
    check_spec: Callable[[EngineSpec, ModelFacts, Deployment, Workload], None] = lambda spec, facts, deployment, workload: None
    check_installed: Callable[[Deployment], None] = lambda deployment: None
    reads: str | None = None
    takes_text: Callable[[Deployment], bool] = lambda deployment: False
    no_reload: Callable[[Deployment], str | None] = lambda deployment: None
    no_length_classes: str | None = None
    server: str = "triton"
