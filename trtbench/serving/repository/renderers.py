"""The repository of an engine, whoever built it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from trtbench.engine.spec import Engine, ModelFacts
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository import model_repository, tensorrt
from trtbench.serving.repository.model_repository import KvBudget, RenderedRepository
from trtbench.serving.repository.tensorrt_llm import llmapi_model
from trtbench.serving.repository.tensorrt_llm import repository as trtllm


@dataclass(frozen=True)
class Renderer:
    """`kv_budget` answers before there is an engine, `repository` with one; both refuse what the provider cannot serve.

    Without a `kv_budget` it serves encoders alone. `check_installed` refuses what this machine cannot. `reads`: the part of a deployment
    that it alone reads. `always_text`: its model takes no token ids. `no_reload`: why its model cannot be reloaded, if so.
    """

    kv_budget: Callable[[ModelFacts, int, Deployment, Workload], KvBudget] | None
    repository: Callable[[Engine, Deployment, Workload], RenderedRepository]
    check_installed: Callable[[Deployment], None] = lambda deployment: None
    fixed_axes: Mapping[str, str] = field(default_factory=dict)  # of a grid or a scaling: why they would change nothing
    reads: str | None = None
    always_text: bool = False
    no_reload: str | None = None


_ONE_INSTANCE = "it has one instance a server"
_ON_GPU = "it computes on GPUs, its CPU threads are not set"
_NO_BATCHER = "Triton's batcher is off, requests are batched in flight alone"

RENDERERS = {
    "openvino": Renderer(model_repository.kv_budget, model_repository.render),
    "tensorrt_llm": Renderer(
        trtllm.kv_budget,
        trtllm.render,
        trtllm.check_installed,
        {"instances": _ONE_INSTANCE, "inference_threads": _ON_GPU},
        reads="tensorrt_llm",
    ),
    "tensorrt": Renderer(None, tensorrt.render, tensorrt.check_installed, {"inference_threads": _ON_GPU}),
    "llmapi": Renderer(
        llmapi_model.kv_budget,
        llmapi_model.render,
        llmapi_model.check_installed,
        {
            "instances": _ONE_INSTANCE,
            "inference_threads": _ON_GPU,
            **dict.fromkeys(("max_batch_size", "preferred_batch_sizes", "max_queue_delay_us"), _NO_BATCHER),
        },
        reads="llmapi",
        always_text=True,
        no_reload="the llmapi model loads no second time beside itself here; use provider tensorrt_llm or openvino",
    ),
}


def render(engine: Engine, deployment: Deployment, workload: Workload) -> RenderedRepository:
    """ScenarioError when the two do not go together."""
    _check_parts(deployment, engine.provider)
    return RENDERERS[engine.provider].repository(engine, deployment, workload)


def kv_budget(provider: str, facts: ModelFacts, block_tokens: int, deployment: Deployment, workload: Workload) -> KvBudget:
    """What is known of the KV cache before there is an engine; ScenarioError when the provider cannot serve the deployment."""
    _check_parts(deployment, provider)
    budget = RENDERERS[provider].kv_budget
    assert budget, f"{provider} builds no decoder, so none comes here"
    return budget(facts, block_tokens, deployment, workload)


def _check_parts(deployment: Deployment, provider: str) -> None:
    for owner, renderer in RENDERERS.items():
        if owner != provider and renderer.reads and getattr(deployment, renderer.reads) is not None:
            part = renderer.reads
            raise ScenarioError(f"{part}: read by the provider {owner} alone, this is {provider}; drop it, or choose that provider")


def takes_text(deployment: Deployment, provider: str) -> bool:
    """Whether its model takes text in place of token ids."""
    return RENDERERS[provider].always_text or (deployment.tensorrt_llm is not None and deployment.tensorrt_llm.family != "ids")


def check_reloaded_family(deployment: Deployment) -> None:
    """ScenarioError where a reload of the model that clients speak to would leave the engine, which lies in another, as it is."""
    family = deployment.tensorrt_llm.family if deployment.tensorrt_llm else "ids"
    if family != "ids":
        raise ScenarioError(f"tensorrt_llm.family is {family}, and hot_reload loads one model alone, not those around the engine: set ids")


def check_reloads(repository: RenderedRepository, provider: str) -> None:
    """ScenarioError for a repository whose model cannot be loaded anew in a running server."""
    if repository.launch.ranks > 1:
        raise ScenarioError(
            f"hot_reload: the engine has {repository.launch.ranks} ranks, and those of MPI end with their model; reload on one GPU"
        )
    if repository.links:
        raise ScenarioError(
            f"hot_reload: {', '.join(repository.links)} of provider {provider} lies in each version, and a reload writes none; use openvino"
        )
    if why := RENDERERS[provider].no_reload:
        raise ScenarioError(f"hot_reload: {why}")
