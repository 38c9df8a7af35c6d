"""The repository of one TensorRT-LLM engine for one deployment, and every reason why the two do not fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from trtbench.engine.spec import Engine, EngineSpec, ModelFacts
from trtbench.scenario.deployment.build_options import BuildOptions
from trtbench.scenario.deployment.deployment import Deployment, Scheduler
from trtbench.scenario.deployment.tensorrt_llm import TensorRtLlm
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository.model_repository import MODEL_VERSION, KvBudget, RenderedModel, RenderedRepository, check_positions
from trtbench.serving.repository.renderer import Renderer
from trtbench.serving.repository.tensorrt_llm.config import (
    BACKEND_MODEL,
    FAMILY,
    FRONT_MODELS,
    TEXT_MODELS,
    check_serves_engines,
    family_configs,
    find_templates,
    model_code,
)
from trtbench.serving.repository.tensorrt_llm.engine_limits import KV_BLOCK_TOKENS, EngineLimits
from trtbench.serving.server.launch import Launch, engine_launch
from trtbench.system import packaged_data

_TEMPLATES = "inflight_batcher_llm"
_DEFAULTS = Deployment()


def render(engine: Engine, deployment: Deployment, workload: Workload) -> RenderedRepository:
    """The repository of `engine` for `deployment`; ScenarioError or EngineError if they do not fit."""
    settings = deployment.tensorrt_llm or TensorRtLlm()
    limits = EngineLimits.read(engine.path)
    _check(deployment, settings, limits, workload)
    kv = _kv_budget(engine, deployment, settings, limits, workload)
    templates = find_templates(_TEMPLATES, settings.template_dir)
    check_serves_engines(engine.provider_versions.get("tensorrt_llm", ""))
    configs = family_configs(deployment, engine.path.resolve(), kv.tokens)
    empty = packaged_data.MODEL_REPO / FAMILY / MODEL_VERSION
    launch = engine_launch(settings.launch, limits.world_size, settings.parameters.gpu_device_ids)
    own = {BACKEND_MODEL: empty, "ensemble": empty}
    models = [RenderedModel(name, text, own.get(name) or model_code(_TEMPLATES, templates, name)) for name, text in configs.items()]
    return RenderedRepository(
        FRONT_MODELS[settings.family],
        models[0].config,
        models[0].source,
        kv,
        others=tuple(models[1:]),
        launch=replace(launch, oversubscribe=settings.oversubscribe),
        served=_served(deployment, limits),
        positions=limits.max_seq_len,
        longest_prompt_tokens=limits.longest_prompt_tokens(deployment.scheduler.chunked_prefill),
    )


def check_spec(spec: EngineSpec, facts: ModelFacts, deployment: Deployment, workload: Workload) -> None:
    """ScenarioError for what `render` would refuse of the engine of `spec`, before hours are spent on its build."""
    build, dtype = spec.build, spec.dtype
    limits = EngineLimits.read(build.engine_dir) if build.engine_dir else EngineLimits.foreseen(build, dtype, facts.max_positions)
    if dtype == "fp8" and build.kv_dtype == "auto" and not build.engine_dir:  # 16 bit, of the checkpoint's own kind
        deployment = deployment.model_copy(update={"kv_cache": deployment.kv_cache.model_copy(update={"dtype": "auto"})})
    for problem in () if build.engine_dir else _changed_by_the_builder(build, limits):
        raise ScenarioError(problem)
    _check(deployment, deployment.tensorrt_llm or TensorRtLlm(), limits, workload)


def _changed_by_the_builder(build: BuildOptions, limits: EngineLimits) -> Iterator[str]:
    """Tokens of a step that TensorRT-LLM's builder would change with no more than a warning (`check_max_num_tokens`)."""
    least, most = build.kv_block_tokens or KV_BLOCK_TOKENS, limits.max_seq_len * limits.max_batch_size
    asked = f"scheduler.max_tokens_per_step (build.max_num_tokens) = {limits.max_num_tokens}"
    if limits.max_num_tokens < least and build.plugins.get("context_fmha") != "disable":
        yield f"{asked}: TensorRT-LLM builds for no fewer than the {least} tokens of a KV block; give {least} or more"
    if limits.max_num_tokens > most:
        yield (
            f"{asked}: {limits.max_batch_size} sequences of {limits.max_seq_len} tokens are {most}, and TensorRT-LLM builds for no more; "
            f"give {most} or fewer"
        )


def _check(deployment: Deployment, settings: TensorRtLlm, limits: EngineLimits, workload: Workload) -> None:
    for problem in (*common_problems(deployment, "tensorrt_llm"), *_problems(deployment, settings, limits)):
        raise ScenarioError(problem)
    check_positions(workload, limits.max_seq_len, "the engine's (max_seq_len)")
    _check_prompts(workload, limits, deployment.scheduler.chunked_prefill)


def kv_budget(facts: ModelFacts, block_tokens: int, deployment: Deployment, workload: Workload) -> KvBudget:
    """Before there is an engine: what is asked for. Its type decides what bytes hold, and is the engine's when not named."""
    for problem in common_problems(deployment, "tensorrt_llm"):
        raise ScenarioError(problem)
    check_positions(workload, facts.max_positions)
    dtype = "fp16" if deployment.kv_cache.dtype == "auto" else deployment.kv_cache.dtype
    bytes_per_token = facts.kv_bytes_per_token(dtype)
    bytes_ = deployment.kv_cache.bytes if deployment.kv_cache.dtype != "auto" else None
    blocks = bytes_ // (bytes_per_token * block_tokens) if bytes_ else deployment.kv_cache.blocks
    return KvBudget(blocks, block_tokens, dtype, bytes_per_token, -(-workload.longest_request_tokens // block_tokens)).fitting()


def check_installed(deployment: Deployment) -> None:
    """ScenarioError if NVIDIA's code of the family, or a program that the launch certainly needs, is not on this machine."""
    settings = deployment.tensorrt_llm or TensorRtLlm()
    templates = find_templates(_TEMPLATES, settings.template_dir)
    for model in TEXT_MODELS[settings.family]:
        model_code(_TEMPLATES, templates, model)
    Launch(mpi=settings.launch in ("mpirun", "orchestrator")).check()


ONE_BATCH = (
    "the engine batches in flight, whatever Triton's batcher is set to, and a model for each class would take the engine's GPU memory once "
    "more: set policy one_size and vary scheduler, or measure the classes as scenarios of their own"
)
"""Why length classes are not served apart."""


def common_problems(deployment: Deployment, provider: str) -> Iterator[str]:
    """Problems with keys that only the CPU engine uses."""
    if deployment.instances != 1:
        yield f"instances = {deployment.instances}: {provider} has one instance a server, which batches in flight; run more servers"
    if deployment.inference_threads is not None:
        yield f"inference_threads = {deployment.inference_threads} is a setting of the CPU engine alone: drop it"


def _problems(deployment: Deployment, settings: TensorRtLlm, limits: EngineLimits) -> Iterator[str]:
    yield from _built_in(deployment.scheduler, limits)
    if deployment.kv_cache.dtype not in ("auto", limits.kv_dtype):
        yield f"kv_cache.dtype = {deployment.kv_cache.dtype!r}: the engine was built with {limits.kv_dtype}; build another, or set auto"
    if not limits.paged_context_fmha:
        why = "an INT8 KV cache excludes it" if limits.kv_dtype == "int8" else "the engine was built without use_paged_context_fmha"
        for key, on in (
            ("kv_cache.prefix_caching", deployment.kv_cache.prefix_caching),
            ("scheduler.chunked_prefill", deployment.scheduler.chunked_prefill),
        ):
            if on:
                yield f"{key} = true needs paged context attention, and {why}: set {key} false, on every engine that is compared"
    asked = settings.parameters
    if (asked.max_beam_width or 1) > limits.max_beam_width:
        yield f"max_beam_width = {asked.max_beam_width} is over the engine's {limits.max_beam_width}: lower it, or build a wider engine"
    if asked.gpu_weights_percent is not None and asked.gpu_weights_percent < 1 and not limits.weight_streaming:
        yield f"gpu_weights_percent = {asked.gpu_weights_percent:g} needs an engine of weight_streaming: build one, or drop it"
    if deployment.replicas.gpus and (limits.world_size > 1 or asked.gpu_device_ids):
        many = f"the engine has {limits.world_size} ranks" if limits.world_size > 1 else "parameters.gpu_device_ids names others"
        yield f"replicas.gpus {list(deployment.replicas.gpus)} shows each server one GPU, as its 0, and {many}: drop one of them"
    if asked.gpu_device_ids and len(asked.gpu_device_ids) != limits.world_size:
        yield f"gpu_device_ids {list(asked.gpu_device_ids)} must name {limits.world_size} GPUs, one for each rank of the engine"


def _built_in(scheduler: Scheduler, limits: EngineLimits) -> Iterator[str]:
    """Problems with limits that the engine's build determines: a scenario may leave them out, or set the engine's own value."""
    for key, build_key in (("max_sequences", "max_batch_size"), ("max_tokens_per_step", "max_num_tokens")):
        asked, built = getattr(scheduler, key), getattr(limits, build_key)
        if asked not in (built, getattr(_DEFAULTS.scheduler, key)):
            yield (
                f"scheduler.{key} = {asked}: TensorRT-LLM takes it from the engine's build, where {build_key} is {built}; "
                f"build an engine with {build_key} {asked}, or leave scheduler.{key} out"
            )


def _kv_budget(engine: Engine, deployment: Deployment, settings: TensorRtLlm, limits: EngineLimits, workload: Workload) -> KvBudget:
    """The KV cache. `blocks` is None if the backend takes a share of the GPU's free memory; its log has the number once it is loaded."""
    bytes_per_token = engine.model_facts.kv_bytes_per_token(limits.kv_dtype)
    block_tokens = engine.kv_block_tokens
    blocks = deployment.kv_cache.blocks
    if deployment.kv_cache.bytes:
        blocks = deployment.kv_cache.bytes // (bytes_per_token * block_tokens)
    elif tokens := settings.parameters.max_tokens_in_paged_kv_cache:
        blocks = -(-tokens // block_tokens)  # the backend rounds up to whole blocks
    per_request = -(-workload.longest_request_tokens // block_tokens)
    return KvBudget(blocks, block_tokens, limits.kv_dtype, bytes_per_token, per_request).fitting()


def _check_prompts(workload: Workload, limits: EngineLimits, chunked: bool) -> None:
    longest = max(kind.longest_prompt_tokens for kind in workload.kinds.values())
    if longest > limits.longest_prompt_tokens(chunked):
        raise ScenarioError(
            f"workload.input_tokens of up to {longest} is over the engine's longest prompt, {limits.longest_prompt_tokens(chunked)} "
            f"(max_seq_len {limits.max_seq_len}, max_num_tokens {limits.max_num_tokens}, chunked context {'on' if chunked else 'off'}): "
            "shorten the prompts, set scheduler.chunked_prefill, or raise scheduler.max_tokens_per_step, for which the engine is built"
        )


def _served(deployment: Deployment, limits: EngineLimits) -> Deployment:
    """The deployment with the limits that the engine's build determines."""
    scheduler = deployment.scheduler.model_copy(
        update={"max_sequences": limits.max_batch_size, "max_tokens_per_step": limits.max_num_tokens}
    )
    return deployment.model_copy(update={"scheduler": scheduler})


def _takes_text(deployment: Deployment) -> bool:
    return deployment.tensorrt_llm is not None and deployment.tensorrt_llm.family != "ids"


def _no_reload(deployment: Deployment) -> str | None:
    """A reload of the model that clients use would leave the engine as it is when that lies in another model."""
    if not _takes_text(deployment):
        return None
    family = (deployment.tensorrt_llm or TensorRtLlm()).family
    return f"tensorrt_llm.family is {family}, and hot_reload loads one model alone, not those around the engine: set ids"


RENDERER = Renderer(
    kv_budget=kv_budget,
    repository=render,
    check_spec=check_spec,
    check_installed=check_installed,
    reads="tensorrt_llm",
    takes_text=_takes_text,
    no_reload=_no_reload,
    no_length_classes=ONE_BATCH,
)
