"""The repository of an engine, whoever built it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from trtbench.engine.spec import Engine, ModelFacts
from trtbench.scenario import Deployment, ScenarioError, Workload
from trtbench.serving import model_repository
from trtbench.serving.model_repository import KvBudget, RenderedRepository
from trtbench.serving.trtllm import llmapi
from trtbench.serving.trtllm import repository as trtllm


@dataclass(frozen=True)
class Renderer:
    """`kv_budget` answers before there is an engine, `repository` with one; both refuse what the provider cannot serve."""

    kv_budget: Callable[[ModelFacts, int, Deployment, Workload], KvBudget]
    repository: Callable[[Engine, Deployment, Workload], RenderedRepository]


RENDERERS = {
    "openvino": Renderer(model_repository.kv_budget, model_repository.render),
    "tensorrt_llm": Renderer(trtllm.kv_budget, trtllm.render),
    "llmapi": Renderer(llmapi.kv_budget, llmapi.render),
}


def render(engine: Engine, deployment: Deployment, workload: Workload) -> RenderedRepository:
    """ScenarioError when the two do not go together."""
    _check_parts(deployment, engine.provider)
    return RENDERERS[engine.provider].repository(engine, deployment, workload)


def kv_budget(provider: str, facts: ModelFacts, block_tokens: int, deployment: Deployment, workload: Workload) -> KvBudget:
    """What is known of the KV cache before there is an engine; ScenarioError when the provider cannot serve the deployment."""
    _check_parts(deployment, provider)
    return RENDERERS[provider].kv_budget(facts, block_tokens, deployment, workload)


def _check_parts(deployment: Deployment, provider: str) -> None:
    for part in ("tensorrt_llm", "llmapi"):
        if getattr(deployment, part) is not None and part != provider:
            raise ScenarioError(f"{part}: read by the provider {part} alone, this is {provider}; drop it, or choose that provider")


def check_reloads(repository: RenderedRepository) -> None:
    """ScenarioError for a repository whose model cannot be loaded anew in a running server."""
    if repository.launch.ranks > 1:
        raise ScenarioError(
            f"hot_reload: the engine has {repository.launch.ranks} ranks, and those of MPI end with their model; reload on one GPU"
        )
    if repository.files:
        raise ScenarioError("hot_reload: the llmapi model loads no second time beside itself here; use provider tensorrt_llm or openvino")
