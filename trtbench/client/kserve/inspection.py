"""The inspection of a server that speaks KServe v2: what it reports of a model, and whether trtbench can measure that model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from trtbench.client.kserve.encoder import ENCODER_INPUTS, datatype_of, read_tensors
from trtbench.client.kserve.family import family_of
from trtbench.client.kserve.grpc_wires import GRPC
from trtbench.client.kserve.model_tensors import model_tensors
from trtbench.client.kserve.questions import MOST_ANSWER_BYTES, Questions, UnknownModelError, open_channel, remedy
from trtbench.client.kserve.target import KserveTarget
from trtbench.client.protocol import RequestOptions, TargetError
from trtbench.client.transport.greeting import check_address
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.load.headers import metadata_of
from trtbench.system.foreign_text import names, shown
from trtbench.tasks.embed import EMBED
from trtbench.tasks.generate import GENERATE
from trtbench.tasks.infer import INFER
from trtbench.tasks.task import TaskName

_DEFAULTS, _NO_OPTIONS = ClientSettings(), RequestOptions()
_MOST_STEPS = 32  # models inside an ensemble that are asked about
_VERSION_DIGITS = 19  # a version is a 64-bit number
_VERSION_CHARACTERS = 100  # how much of the server's name and version is kept
_FAMILY_WORDS = {
    "ids": "a tensorrt_llm model of TensorRT-LLM's Triton backend",
    "text": "an ensemble or tensorrt_llm_bls of TensorRT-LLM's",
    "llmapi": "an llmapi model of TensorRT-LLM's",
    "vllm": "a model of Triton's vLLM backend",
}


def inspect_target(
    url: str,
    model: str,
    version: str = "",
    timeout_s: float = 5.0,
    settings: ClientSettings = _DEFAULTS,
    task: TaskName = GENERATE.name,
    options: RequestOptions = _NO_OPTIONS,
) -> KserveTarget:
    """Ask a running server about a model, over a connection as `settings` describe it; TargetError if trtbench cannot measure the model.

    AddressError if no gRPC server answers at `url`, UserError if a file or a header of `settings` cannot be used. What the server does not
    answer is left out if the load does not need it. The call blocks up to about `timeout_s` for each question.
    """
    _check_asked(version, options)
    check_address(url, GRPC, settings, timeout_s)
    with open_channel(url, settings, MOST_ANSWER_BYTES) as channel:
        questions = Questions(channel, metadata_of(settings.headers), timeout_s)
        _check_ready(questions, url, version, model, *(one.model or model for one in options.classes))
        config = questions.config(model, version)
        if config is None:
            raise TargetError(f"{url}: {_no_config(questions, model)}")
        server = questions.ask("ServerMetadata")
        questions.ask("ModelStatistics", name=model, version=version)
        config.model_transaction_policy.decoupled |= _has_decoupled_step(questions, config)
    target = KserveTarget(
        url=url,
        model=model,
        version=version,
        max_batch_size=config.max_batch_size,
        triton_version=server.version[:_VERSION_CHARACTERS] if server else "",
        server_name=server.name[:_VERSION_CHARACTERS] if server else "",
        inputs=frozenset(tensor.name for tensor in config.input),
        outputs=frozenset(tensor.name for tensor in config.output),
        engine_model=_engine_model(config),
        accumulates=_accumulates(config),
        classes=options.classes,
        unanswered=questions.unanswered,
    )
    return _CHECKED[task](target, config)


def _accumulates(config: Any) -> bool:
    """Whether each response has all the text so far."""
    return "sampling_param_max_tokens" in {tensor.name for tensor in config.input} or _parameter(config, "accumulate_tokens") == "true"


def _check_asked(version: str, options: RequestOptions) -> None:
    """TargetError for what cannot be asked of any model over gRPC."""
    if version and not (version.isascii() and version.isdigit() and len(version) <= _VERSION_DIGITS):
        raise TargetError(
            f"--model-version {shown(version, 40)}: versions are whole numbers; leave it out for the one that the server chooses, "
            "by default the latest"
        )
    if options.extra_inputs or options.system_prompt:
        raise TargetError("--extra-input and --system-prompt are for HTTP endpoints: leave them out, or give another --endpoint-type")


def _check_ready(questions: Questions, url: str, version: str, *models: str) -> None:
    """TargetError if a model is not ready. The readiness of the server is not checked, because it depends on its other models."""
    for model in dict.fromkeys(models):
        answer = questions.ask("ModelReady", name=model, version=version)
        if answer is None or answer.ready:
            continue
        try:
            state = questions.state(model, version)
        except UnknownModelError as error:
            raise TargetError(f"{url}: {error}") from error
        where = f"{shown(model)!r} version {version}" if version else repr(shown(model))
        raise TargetError(f"{url}: model {where} is {state}")


def _no_config(questions: Questions, model: str) -> str:
    calls = "; ".join(f"{call}: {why}" for call, why in questions.unanswered.items())
    return f"the server does not report which tensors model {shown(model)!r} takes ({calls}): {remedy(questions.unanswered)}"


def _engine_model(config: Any) -> str:
    """The model inside that runs the engine: of an ensemble the step that makes token ids, of tensorrt_llm_bls the model that it names.

    An empty text for any other model."""
    steps = [step.model_name for step in config.ensemble_scheduling.step if "output_ids" in step.output_map]
    return steps[0] if steps else _parameter(config, "tensorrt_llm_model_name")


def _parameter(config: Any, key: str) -> str:
    return str(config.parameters[key].string_value) if key in config.parameters else ""


def _embedding(target: KserveTarget, config: Any) -> KserveTarget:
    if "ModelConfig" in target.unanswered:
        config.model_transaction_policy.decoupled = False
    try:
        return replace(target, encoder=read_tensors(config))
    except ValueError as error:
        raise TargetError(f"{target.url}: model {shown(target.model)!r} {error}") from error


def _has_decoupled_step(questions: Questions, config: Any) -> bool:
    """Whether a model inside an ensemble is decoupled. The ensemble then streams, which its own configuration need not say."""
    steps = {step.model_name for step in config.ensemble_scheduling.step}
    inside = (questions.config(name, "") for name in sorted(steps)[:_MOST_STEPS])
    return any(one is not None and one.model_transaction_policy.decoupled for one in inside)


def _taking_tensors(target: KserveTarget, config: Any) -> KserveTarget:
    if "ModelConfig" in target.unanswered:
        config.model_transaction_policy.decoupled = False
    try:
        return replace(target, tensors=model_tensors(config))
    except ValueError as error:
        raise TargetError(f"{target.url}: model {shown(target.model)!r} {error}") from error


def _generating(target: KserveTarget, config: Any) -> KserveTarget:
    name = f"{target.url}: model {shown(target.model)!r}"
    if target.inputs and set(target.inputs) <= ENCODER_INPUTS and not config.model_transaction_policy.decoupled:
        raise TargetError(f"{name} embeds and does not generate (it takes {names(target.inputs)}): give --task embed")
    if family_of(target.inputs) is None:
        takes = names(target.inputs)
        raise TargetError(
            f"{name} takes neither input_ids nor text_input (it takes {takes}): name the tensorrt_llm model, the ensemble, "
            "tensorrt_llm_bls or the llmapi model, not one of the models around them"
        )
    if missing := target.family.missing(target.inputs, target.outputs):
        raise TargetError(f"{name} lacks {', '.join(missing)}: it is not {_FAMILY_WORDS[target.family.name]}")
    for role, slot in target.family.inputs.items():
        _check_type(name, slot.datatype, next((found for found in config.input if found.name == target.input_name(role)), None))
    if target.family.unbatched_by and target.batched:
        raise TargetError(
            f"{name} has max_batch_size {target.max_batch_size}, but {_FAMILY_WORDS[target.family.name]} takes one prompt without a batch "
            f"dimension; set {target.family.unbatched_by}"
        )
    if not config.model_transaction_policy.decoupled:
        raise TargetError(f"{name} is not decoupled, so it cannot stream tokens; set {target.family.decoupled_by}")
    return target


_CHECKED: dict[TaskName, Callable[[KserveTarget, Any], KserveTarget]] = {
    GENERATE.name: _generating,
    EMBED.name: _embedding,
    INFER.name: _taking_tensors,
}
"""For each task, the function that completes a target for it; TargetError if the model does not fit the task."""


def _check_type(name: str, datatype: str, tensor: Any) -> None:
    found = tensor and datatype_of(tensor)
    if found not in (None, datatype, "INVALID"):  # INVALID: the server does not report the type
        raise TargetError(
            f"{name} takes {shown(tensor.name)} as {found}, but TensorRT-LLM's models take it as {datatype}: name a model of TensorRT-LLM"
        )
