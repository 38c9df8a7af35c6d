"""The repository of NVIDIA's `llmapi` model: model.yaml is tensorrt_llm.LLM's keywords, and Triton's own in `triton_config`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import yaml
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from trtbench.engine.spec import Engine, ModelFacts
from trtbench.engine.tensorrt_llm.versions import installed_llm_names
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.deployment.tensorrt_llm import LlmApi
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository.model_repository import KvBudget, RenderedRepository, check_positions
from trtbench.serving.repository.renderer import Renderer
from trtbench.serving.repository.tensorrt_llm.config import find_templates, interface, model_code, release
from trtbench.serving.repository.tensorrt_llm.repository import ONE_BATCH, common_problems
from trtbench.serving.server.launch import llmapi_launch
from trtbench.system import packaged_data

_DEFAULTS = Deployment()
_KV_DTYPES = ("auto", "fp16", "fp8")
_FIRST = (1, 0)
MODEL = "tensorrt_llm"


def render(engine: Engine, deployment: Deployment, workload: Workload) -> RenderedRepository:
    """The repository of a checkpoint under `deployment`; ScenarioError when they do not go together."""
    settings = deployment.llmapi or LlmApi()
    deployment = _with_built_limits(deployment, engine.options.get("asked") or {})
    kv_dtype = _kv_dtype(deployment, engine.kv_dtype)
    kv = _budget(engine.model_facts, engine.kv_block_tokens, deployment, workload, kv_dtype)
    keywords = llm_keywords(engine, deployment, settings, kv)
    positions = keywords.get("max_seq_len")
    if positions:
        check_positions(workload, positions, "the LLM API's (max_seq_len)")
    check_keywords(keywords, engine.provider_versions.get("tensorrt_llm", ""))
    triton: dict[str, Any] = {"max_batch_size": 0, "decoupled": True}
    if settings.cancellation_check_period_ms is not None:
        triton["cancellation_check_period_ms"] = settings.cancellation_check_period_ms
    ranks = keywords["tensor_parallel_size"] * keywords["pipeline_parallel_size"]
    if deployment.replicas.gpus and ranks > 1:
        raise ScenarioError(f"replicas.gpus {list(deployment.replicas.gpus)} shows each server one GPU, the model takes {ranks}: drop one")
    launch = llmapi_launch(settings.launch, ranks)
    config = interface("llmapi", MODEL)
    config.instance_group.add(count=1, kind=model_config_pb2.ModelInstanceGroup.KIND_CPU)
    return RenderedRepository(
        MODEL,
        text_format.MessageToString(config, as_utf8=True),
        model_code("llmapi", find_templates("llmapi", settings.template_dir), MODEL),
        kv,
        server_flags=(),  # the model completes its own configuration, with model.yaml's decoupled and max_batch_size
        files={"model.yaml": yaml.safe_dump(keywords | {"triton_config": triton}, sort_keys=False, allow_unicode=True)},
        launch=replace(launch, oversubscribe=settings.oversubscribe),
        served=deployment.model_copy(update={"dynamic_batching": None}),
        positions=positions,
    )


def check_installed(deployment: Deployment) -> None:
    """ScenarioError when NVIDIA's model, or a program that the launch needs, is not on this machine."""
    settings = deployment.llmapi or LlmApi()
    model_code("llmapi", find_templates("llmapi", settings.template_dir), MODEL)
    llmapi_launch(settings.launch, 1).check()


def kv_budget(facts: ModelFacts, block_tokens: int, deployment: Deployment, workload: Workload) -> KvBudget:
    """Before the checkpoint is read: what is asked for. `blocks` is None where the LLM API takes a share of the GPU's free memory."""
    return _budget(facts, block_tokens, deployment, workload, deployment.kv_cache.dtype)


def _budget(facts: ModelFacts, block_tokens: int, deployment: Deployment, workload: Workload, dtype: str) -> KvBudget:
    """`dtype` auto: not known, so neither is what bytes hold."""
    for problem in (*common_problems(deployment, "llmapi"), *_problems(deployment)):
        raise ScenarioError(problem)
    check_positions(workload, facts.max_positions)
    known = "fp16" if dtype == "auto" else dtype
    bytes_per_token = facts.kv_bytes_per_token(known)
    blocks = deployment.kv_cache.blocks
    if deployment.kv_cache.bytes and dtype != "auto":
        blocks = deployment.kv_cache.bytes // (bytes_per_token * block_tokens)
    return KvBudget(blocks, block_tokens, known, bytes_per_token, -(-workload.longest_request_tokens // block_tokens)).fitting()


def _kv_dtype(deployment: Deployment, checkpoint: str) -> str:
    """What is asked, else what the checkpoint was prepared for; ScenarioError when they differ, or bytes of no known type are asked."""
    asked = deployment.kv_cache.dtype
    if asked == "fp16" and checkpoint == "fp8":
        raise ScenarioError("kv_cache.dtype = 'fp16': the checkpoint's KV cache is quantised to fp8; say auto, or serve another checkpoint")
    dtype = checkpoint if asked == "auto" else asked
    if deployment.kv_cache.bytes and dtype == "auto":
        raise ScenarioError("kv_cache.bytes: the checkpoint does not say its KV cache's type, so what they hold; name kv_cache.dtype")
    return dtype


def _with_built_limits(deployment: Deployment, build: Mapping[str, Any]) -> Deployment:
    """The deployment with in-flight limits of `build` where the scheduler gives none; ScenarioError if both are given and differ."""
    limits = {}
    for key, build_key in (("max_sequences", "max_batch_size"), ("max_tokens_per_step", "max_num_tokens")):
        asked, built = getattr(deployment.scheduler, key), build.get(build_key)
        if built is not None and asked not in (built, getattr(_DEFAULTS.scheduler, key)):
            raise ScenarioError(f"scheduler.{key} = {asked} and build.{build_key} = {built} say different things of one limit: drop one")
        limits[key] = built or asked
    return deployment.model_copy(update={"scheduler": deployment.scheduler.model_copy(update=limits)})


def _problems(deployment: Deployment) -> Iterator[str]:
    if deployment.kv_cache.dtype not in _KV_DTYPES:
        yield f"kv_cache.dtype = {deployment.kv_cache.dtype!r}: TensorRT-LLM's PyTorch backend has {', '.join(_KV_DTYPES)}"
    if deployment.max_batch_size != _DEFAULTS.max_batch_size:
        yield f"max_batch_size = {deployment.max_batch_size}: the llmapi model batches in flight alone, Triton's batcher is off; drop it"
    if deployment.dynamic_batching not in (None, _DEFAULTS.dynamic_batching):
        yield "dynamic_batching: the llmapi model batches in flight alone, Triton's batcher is off; say null, or leave it out"


def llm_keywords(engine: Engine, deployment: Deployment, settings: LlmApi, kv: KvBudget) -> dict[str, Any]:
    """Keywords of tensorrt_llm.LLM. Those left out are its own defaults."""
    build = engine.options.get("asked") or {}
    cache_config = {
        "enable_block_reuse": deployment.kv_cache.prefix_caching,
        "dtype": "fp8" if kv.dtype == "fp8" else "auto",
        "tokens_per_block": build.get("kv_block_tokens"),
        "max_tokens": kv.tokens,
        "free_gpu_memory_fraction": settings.free_gpu_memory_fraction,
        "host_cache_size": settings.host_cache_bytes,
    }
    scheduler = {
        "capacity_scheduler_policy": settings.capacity_scheduler_policy,
        "context_chunking_policy": settings.context_chunking_policy,
    }
    keywords: dict[str, Any] = {
        "model": engine.options.get("checkpoint") or str(engine.path.resolve()),
        "backend": "pytorch",
        "load_format": "dummy" if build.get("dummy_weights") else None,
        "tensor_parallel_size": build.get("tp", 1),
        "pipeline_parallel_size": build.get("pp", 1),
        "max_seq_len": build.get("max_seq_len"),
        "max_input_len": build.get("max_input_len"),
        "max_batch_size": deployment.scheduler.max_sequences,
        "max_num_tokens": deployment.scheduler.max_tokens_per_step,
        "enable_chunked_prefill": deployment.scheduler.chunked_prefill,
        "kv_cache_config": _given(cache_config),
        "scheduler_config": _given(scheduler),
        "disable_overlap_scheduler": settings.disable_overlap_scheduler,
        "attn_backend": settings.attn_backend,
        "stream_interval": settings.stream_interval,
    }
    keywords = {key: value for key, value in _given(keywords).items() if value != {}}
    if settings.cuda_graphs is not None:
        keywords["cuda_graph_config"] = {"enable_padding": True} if settings.cuda_graphs else None
    return _merged(keywords, settings.options)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}


def _merged(keywords: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """ScenarioError where an option says what another key of the deployment says."""
    merged = dict(keywords)
    for key, value in options.items():
        ours = keywords.get(key)
        both = set(ours) & set(value) if isinstance(ours, dict) and isinstance(value, dict) else set()
        if both or (key in keywords and not isinstance(ours, dict)):
            raise ScenarioError(f"llmapi.options.{key}{''.join(f'.{one}' for one in sorted(both)[:1])} has a key of its own: use that")
        merged[key] = ours | value if isinstance(ours, dict) and isinstance(value, dict) else value
    return merged


def check_keywords(keywords: Mapping[str, Any], version: str) -> None:
    """ScenarioError for a keyword that this version of tensorrt_llm.LLM does not take: by the record, else by the installed class."""
    for key, inner in _unknown(keywords, known_keywords(version)):
        offered = installed_llm_names()
        if inner not in offered.get(key or "LLM", ()):
            name, where = (f"{key}.{inner}", f"llmapi.options.{key}") if key else (inner, "llmapi.options")
            asked = "nor has the installed class it" if offered else "and no installed one could be asked"
            raise ScenarioError(f"llmapi: {name} is not known of TensorRT-LLM {version}'s LLM, {asked}: drop it from {where}")


def _unknown(keywords: Mapping[str, Any], known: Mapping[str, list[str]]) -> Iterator[tuple[str, str]]:
    """Unknown keywords as ("", keyword), and unknown fields of configurations as (configuration, field)."""
    for key, value in keywords.items():
        if key not in known["LLM"]:
            yield "", key
        if isinstance(value, dict) and key in known:
            yield from ((key, inner) for inner in value if inner not in known[key])


def known_keywords(version: str) -> dict[str, list[str]]:
    """Keywords of `LLM` and fields of its configurations. For a later version these are the ones of the last version known."""
    at = release(version)
    if at < _FIRST:
        raise ScenarioError(f"provider llmapi needs TensorRT-LLM 1.0 or later, the checkpoint was prepared with {version}")
    return _keywords()["1.0" if at < (1, 2) else "1.2"]


@cache
def _keywords() -> dict[str, dict[str, list[str]]]:
    known: dict[str, dict[str, list[str]]] = yaml.safe_load(
        (packaged_data.MODEL_REPO / "llmapi" / "keywords.yaml").read_text(encoding="utf-8")
    )
    return known


def _no_reload(deployment: Deployment) -> str:
    return "hot_reload: the llmapi model cannot be loaded a second time next to itself; use provider tensorrt_llm or openvino"


RENDERER = Renderer(
    kv_budget=kv_budget,
    repository=render,
    check_installed=check_installed,
    reads="llmapi",
    takes_text=lambda deployment: True,
    no_reload=_no_reload,
    no_length_classes=ONE_BATCH,
)
