"""The repository of an encoder's TensorRT plan, and every reason why it cannot be served as requested."""

from __future__ import annotations

from collections.abc import Iterator

from trtbench.engine.spec import Engine, EngineSpec, ModelFacts
from trtbench.engine.tensorrt.provider import PlanLimits
from trtbench.engine.tensorrt.runtime import other_version
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository.model_repository import MODEL_VERSION, RenderedRepository, rendered_config
from trtbench.serving.repository.renderer import Renderer
from trtbench.serving.server.installation import find_tritonserver
from trtbench.system import packaged_data

PLAN = "model.plan"
_LIBRARY = "libtriton_tensorrt.so"


def render(engine: Engine, deployment: Deployment, workload: Workload) -> RenderedRepository:
    """The repository of a plan; ScenarioError if plan and deployment do not fit."""
    _check_profile(engine.options["max_batch_size"], engine.options["max_input_len"], deployment, workload)
    if reason := other_version(engine.provider_versions["tensorrt"]):
        raise ScenarioError(reason)
    template = packaged_data.MODEL_REPO / "encoder-tensorrt"
    config = rendered_config(template, engine.model, deployment, {"embedding_values": engine.model_facts.embedding_values})
    longest = engine.options["max_input_len"]
    links = {PLAN: (engine.path / PLAN).resolve()}
    return RenderedRepository(engine.model, config, template / MODEL_VERSION, None, links=links, longest_prompt_tokens=longest)


def check_spec(spec: EngineSpec, facts: ModelFacts, deployment: Deployment, workload: Workload) -> None:
    """ScenarioError if the deployment exceeds the bounds of the optimisation profile that will be built."""
    limits = PlanLimits.foreseen(spec.build, facts)
    _check_profile(limits.max_batch_size, limits.max_input_len, deployment, workload)


def _check_profile(max_batch_size: int, max_input_len: int, deployment: Deployment, workload: Workload) -> None:
    for problem in _problems(max_batch_size, max_input_len, deployment, workload):
        raise ScenarioError(problem)


def check_installed(deployment: Deployment) -> None:
    """ScenarioError if this Triton has no TensorRT backend."""
    found = find_tritonserver()
    library = found.backends / "tensorrt" / _LIBRARY
    if not library.is_file():
        raise ScenarioError(
            f"provider tensorrt: this Triton ({found.source}) has no {library}: run in NVIDIA's Triton container (tag -py3), "
            "or use provider openvino"
        )


def _problems(max_batch_size: int, max_input_len: int, deployment: Deployment, workload: Workload) -> Iterator[str]:
    if deployment.max_batch_size > max_batch_size:
        yield (
            f"max_batch_size = {deployment.max_batch_size} is over the plan's {max_batch_size}: lower it, or build with "
            f"build.max_batch_size={deployment.max_batch_size}"
        )
    longest = max(kind.longest_prompt_tokens for kind in workload.kinds.values())
    if longest > max_input_len:
        yield (
            f"workload.input_tokens = {longest} is over the plan's {max_input_len} tokens: shorten it, or build with "
            f"build.max_input_len={longest}"
        )
    if deployment.inference_threads is not None:
        yield f"inference_threads = {deployment.inference_threads} is a setting of the CPU engine alone: drop it"


def _no_reload(deployment: Deployment) -> str:
    return "hot_reload: a TensorRT plan is not reloaded here; use provider openvino, or a decoder"


RENDERER = Renderer(
    None,
    render,
    check_spec,
    check_installed,
    no_reload=_no_reload,
    no_length_classes="the client pads every input to the workload's longest, so that classes would not differ: set policy one_size",
)
