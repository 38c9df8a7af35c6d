"""RENDERERS: the renderer of each provider, and the checks that hold for all of them."""

from __future__ import annotations

from dataclasses import replace

from trtbench.engine.spec import Engine, ModelFacts
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository import model_repository, tensorrt, vllm_checkpoint
from trtbench.serving.repository.model_repository import KvBudget, RenderedModel, RenderedRepository
from trtbench.serving.repository.renderer import Renderer
from trtbench.serving.repository.tensorrt_llm import llmapi_model
from trtbench.serving.repository.tensorrt_llm import repository as trtllm

RENDERERS = {
    "openvino": Renderer(model_repository.kv_budget, model_repository.render),
    "tensorrt_llm": trtllm.RENDERER,
    "llmapi": llmapi_model.RENDERER,
    "tensorrt": tensorrt.RENDERER,
    "vllm": vllm_checkpoint.RENDERER,
}


def render(engine: Engine, deployment: Deployment, workload: Workload) -> RenderedRepository:
    """The repository of `engine`; ScenarioError if it cannot be served as `deployment`."""
    _check_parts(deployment, engine.provider)
    if deployment.is_adaptive:
        return _in_classes(engine, deployment, workload)
    return RENDERERS[engine.provider].repository(engine, deployment, workload)


def _in_classes(engine: Engine, deployment: Deployment, workload: Workload) -> RenderedRepository:
    """A model for each length class, all of the same engine. An instance has the same KV cache as in one model of all classes."""
    renderer = RENDERERS[engine.provider]
    kv = renderer.repository(engine, deployment, workload).kv
    models: dict[str, RenderedRepository] = {}
    for name, of_class in deployment.of_classes.items():
        if kv and kv.blocks:
            of_class = of_class.model_copy(update={"kv_cache": of_class.kv_cache.model_copy(update={"blocks": kv.blocks, "bytes": None})})
        models[name] = renderer.repository(replace(engine, model=f"{engine.model}-{name}"), of_class, workload)
    first, *others = models.values()
    further = (RenderedModel(one.model_name, one.config, one.source, one.files, one.links) for one in others)
    of_classes = {name: one.model_name for name, one in models.items()}
    return replace(first, others=(*first.others, *further), kv=kv, models_of_classes=of_classes)


def kv_budget(provider: str, facts: ModelFacts, block_tokens: int, deployment: Deployment, workload: Workload) -> KvBudget:
    """The KV cache as far as it is known without an engine; ScenarioError if the provider cannot serve the deployment."""
    _check_parts(deployment, provider)
    budget = RENDERERS[provider].kv_budget
    assert budget, f"{provider} builds no decoder, so none is served by it"
    return budget(facts, block_tokens, deployment, workload)


def _check_parts(deployment: Deployment, provider: str) -> None:
    for owner, renderer in RENDERERS.items():
        if owner != provider and renderer.reads and getattr(deployment, renderer.reads) is not None:
            part = renderer.reads
            raise ScenarioError(f"{part}: read by the provider {owner} alone, this is {provider}; drop it, or choose that provider")
