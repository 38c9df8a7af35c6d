"""Model configurations of the inflight_batcher_llm family: the tensors of TensorRT-LLM's Triton models, and the values of a deployment."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from trtbench.scenario.deployment.deployment import Deployment, DynamicBatching
from trtbench.scenario.deployment.tensorrt_llm import BackendParameters, TensorRtLlm
from trtbench.scenario.parts.part import ScenarioError
from trtbench.system import packaged_data

ModelConfig: TypeAlias = Any  # protobuf's class, which has no types

TEMPLATE_DIRS = {  # where NVIDIA's containers have their models; the first that exists is used
    "inflight_batcher_llm": ("/app/all_models/inflight_batcher_llm", "/app/tensorrt_llm/triton_backend/all_models/inflight_batcher_llm"),
    "llmapi": ("/app/all_models/llmapi", "/app/tensorrt_llm/triton_backend/all_models/llmapi"),
}
FIRST_WITH_THESE_TENSORS, FIRST_WITHOUT_ENGINES = (1, 0), (1, 3)


def release(version: str) -> tuple[int, int]:
    """(Major, minor) of a version; ScenarioError if it is not a version."""
    found = re.match(r"(\d+)\.(\d+)", version)
    if not found:
        raise ScenarioError(f"the engine names TensorRT-LLM version {version!r}, which is not a version: build the engine again")
    return int(found[1]), int(found[2])


def check_serves_engines(version: str) -> None:
    """ScenarioError unless the Triton models of this version serve engines and have the tensors in model_repo/."""
    at = release(version)
    if at >= FIRST_WITHOUT_ENGINES:
        raise ScenarioError(f"TensorRT-LLM {version} serves no engines, 1.2 was the last: use provider llmapi, or a container up to 26.07")
    if at < FIRST_WITH_THESE_TENSORS:
        raise ScenarioError(
            f"engines of TensorRT-LLM {version} are not supported: build them again with 1.0 to 1.2 (images 25.09 to 26.07)"
        )


def find_templates(family: str, asked: str | None) -> Path | None:
    """The directory of NVIDIA's models, or None if there is none; ScenarioError if the directory `asked` does not exist."""
    if asked is not None:
        if not Path(asked).is_dir():
            raise ScenarioError(f"template_dir = {asked!r} is not a directory: name the one with NVIDIA's {family} models, or leave it out")
        return Path(asked)
    return next((path for path in map(Path, TEMPLATE_DIRS[family]) if path.is_dir()), None)


def model_code(family: str, templates: Path | None, model: str) -> Path:
    """NVIDIA's Python files of one model; ScenarioError if they do not exist."""
    code = templates / model / "1" if templates else None
    if code is None or not (code / "model.py").is_file():
        looked = templates or " or ".join(TEMPLATE_DIRS[family])
        raise ScenarioError(
            f"NVIDIA's {family} model {model} ({model}/1/model.py) is not in {looked}: run in the Triton + TensorRT-LLM container, "
            "or name its directory as template_dir"
        )
    return code


def interface(family: str, model: str) -> ModelConfig:
    """A model's name, backend and tensors, from `model_repo/`."""
    file = packaged_data.MODEL_REPO / family / f"{model}.pbtxt"
    return text_format.Parse(file.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())


FAMILY = "tensorrt_llm"
"""The directory of the interfaces in model_repo/."""

BACKEND_MODEL = "tensorrt_llm"
FRONT_MODELS = {"ids": BACKEND_MODEL, "ensemble": "ensemble", "bls": "tensorrt_llm_bls"}
"""The model that a client sends to, by family."""

TEXT_MODELS = {"ids": (), "ensemble": ("preprocessing", "postprocessing"), "bls": ("preprocessing", "postprocessing", "tensorrt_llm_bls")}
"""The models whose Python code is NVIDIA's, by family."""

_READ_UNGUARDED = {
    BACKEND_MODEL: ("tokenizer_dir", "xgrammar_tokenizer_info_path", "guided_decoding_backend"),
    "preprocessing": ("multimodal_model_path",),
}
"""Parameters without which a model does not load, although nothing here sets them. They are written as unset, as in NVIDIA's templates."""

_KIND_CPU = model_config_pb2.ModelInstanceGroup.KIND_CPU
_TIMEOUT_ACTIONS = {"reject": model_config_pb2.ModelQueuePolicy.REJECT, "delay": model_config_pb2.ModelQueuePolicy.DELAY}


def family_configs(deployment: Deployment, engine: Path, kv_tokens: int | None) -> dict[str, str]:
    """config.pbtxt by model; the first is the model that a client sends to. `kv_tokens` is the KV budget, or None for the backend's own."""
    settings = deployment.tensorrt_llm or TensorRtLlm()
    backend = _backend(deployment, settings, engine, kv_tokens)
    if settings.family == "ids":
        return _texts([backend])
    tokenizers = [_preprocessing(deployment, settings, engine), _postprocessing(deployment, settings, engine)]
    front = _ensemble(deployment) if settings.family == "ensemble" else _bls(deployment, settings)
    return _texts([front, backend, *tokenizers])


def _texts(configs: list[ModelConfig]) -> dict[str, str]:
    return {config.name: _text(config) for config in configs}


def _text(config: ModelConfig) -> str:
    """A config as text. Protobuf omits a delay of 0, which is written here, because a hot reload replaces it in the text."""
    text: str = text_format.MessageToString(config, as_utf8=True)
    if config.HasField("dynamic_batching") and not config.dynamic_batching.max_queue_delay_microseconds:
        text = text.replace("dynamic_batching {\n", "dynamic_batching {\n  max_queue_delay_microseconds: 0\n", 1)
    return text


def _backend(deployment: Deployment, settings: TensorRtLlm, engine: Path, kv_tokens: int | None) -> ModelConfig:
    """The backend's model. It has one instance on KIND_CPU, because the backend places its ranks on GPUs itself."""
    config = _filled(BACKEND_MODEL, deployment, instances=1)
    config.model_transaction_policy.decoupled = True
    _set_batching(config, deployment.dynamic_batching)
    written = {
        **unset(BACKEND_MODEL),
        "gpt_model_type": settings.batching_strategy,
        "gpt_model_path": str(engine),
        "FORCE_CPU_ONLY_INPUT_TENSORS": "no",
        "exclude_input_in_output": True,
        "enable_kv_cache_reuse": deployment.kv_cache.prefix_caching,
        "enable_chunked_context": deployment.scheduler.chunked_prefill,
        **parameter_values(settings.parameters),
    }
    if kv_tokens:
        written["max_tokens_in_paged_kv_cache"] = kv_tokens
    _set_parameters(config, written)
    return config


def unset(model: str) -> dict[str, str]:
    """`${name}`, which NVIDIA's code treats as not given, for each parameter that it reads without checking whether it exists."""
    return {name: f"${{{name}}}" for name in _READ_UNGUARDED[model]}


def parameter_values(parameters: BackendParameters) -> dict[str, Any]:
    """The parameters that are set, by their names in config.pbtxt."""
    values = {key: getattr(parameters, key) for key in BackendParameters.model_fields}
    return {key: value for key, value in values.items() if value is not None and value != ()}


def _preprocessing(deployment: Deployment, settings: TensorRtLlm, engine: Path) -> ModelConfig:
    config = _filled("preprocessing", deployment, settings.preprocessing_instances)
    _set_batching(config, deployment.dynamic_batching)
    special = {"tokenizer_dir": str(engine), "add_special_tokens": settings.add_special_tokens, "gpt_model_path": str(engine)}
    _set_parameters(config, {**unset("preprocessing"), **special})
    return config


def _postprocessing(deployment: Deployment, settings: TensorRtLlm, engine: Path) -> ModelConfig:
    config = _filled("postprocessing", deployment, settings.postprocessing_instances)
    config.dynamic_batching.SetInParent()
    _set_parameters(config, {"tokenizer_dir": str(engine), "skip_special_tokens": settings.skip_special_tokens})
    return config


def _ensemble(deployment: Deployment) -> ModelConfig:
    config = interface(FAMILY, "ensemble")
    config.max_batch_size = deployment.max_batch_size
    return config


def _bls(deployment: Deployment, settings: TensorRtLlm) -> ModelConfig:
    config = _filled("tensorrt_llm_bls", deployment, settings.bls_instances)
    config.model_transaction_policy.decoupled = True
    _set_parameters(config, {"accumulate_tokens": settings.accumulate_tokens, "tensorrt_llm_model_name": BACKEND_MODEL})
    return config


def _filled(model: str, deployment: Deployment, instances: int) -> ModelConfig:
    config = interface(FAMILY, model)
    config.max_batch_size = deployment.max_batch_size
    config.instance_group.add(count=instances, kind=_KIND_CPU)
    return config


def _set_batching(config: ModelConfig, batching: DynamicBatching | None) -> None:
    """Set the dynamic batcher. The backend applies the bound of its queue to the executor too."""
    if batching is None:
        return
    set_ = config.dynamic_batching
    set_.preferred_batch_size.extend(batching.preferred_batch_sizes)
    set_.max_queue_delay_microseconds = batching.max_queue_delay_us
    set_.preserve_ordering = batching.preserve_ordering
    set_.priority_levels = batching.priority_levels
    set_.default_priority_level = batching.default_priority_level
    policy = batching.queue_policy
    set_.default_queue_policy.timeout_action = _TIMEOUT_ACTIONS[policy.timeout_action]
    set_.default_queue_policy.default_timeout_microseconds = policy.timeout_us
    set_.default_queue_policy.max_queue_size = policy.max_queue_size


def _set_parameters(config: ModelConfig, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        config.parameters[key].string_value = parameter_text(value)


def parameter_text(value: Any) -> str:
    """A value as the backend reads it: booleans in lower case, lists with commas, each path of a tree in braces."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(f"{{{parameter_text(one)}}}" if isinstance(one, tuple) else str(one) for one in value)
    return str(value)
