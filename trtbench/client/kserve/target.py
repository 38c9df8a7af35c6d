"""The model under load, as its server describes it: what can be asked of it, and whether it can be measured at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from trtbench.client.kserve.encoder import ENCODER_INPUTS, EncoderTensors, datatype_of, read_tensors
from trtbench.client.kserve.family import COUNT_OUTPUTS, FINISH_OUTPUT, INPUT_COUNT, OUTPUT_COUNT, TIME_OUTPUTS, Family, Role, family_of
from trtbench.client.kserve.questions import MOST_ANSWER_BYTES, Questions, UnknownModelError, open_channel, remedy
from trtbench.client.transport.greeting import check_address
from trtbench.errors import UserError
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.load.headers import metadata_of
from trtbench.system.foreign_text import names, shown
from trtbench.tasks.embed import EMBED
from trtbench.tasks.generate import GENERATE
from trtbench.tasks.task import TaskName

_DEFAULTS = ClientSettings()
_VERSION_DIGITS = 19  # a version is a 64-bit number
_VERSION_CHARACTERS = 100  # kept of the server's name and version
_FAMILY_WORDS = {
    "ids": "a tensorrt_llm model of TensorRT-LLM's Triton backend",
    "text": "an ensemble or tensorrt_llm_bls of TensorRT-LLM's",
    "llmapi": "an llmapi model of TensorRT-LLM's",
}


class TargetError(UserError):
    """A server or a model that cannot be put under load; the message names what was found and the remedy."""


@dataclass(frozen=True)
class Target:
    """One model of one Triton server. `url` is host:port of its gRPC endpoint; `version` is "" for the server's own choice.

    `max_batch_size` is Triton's; 0: the model does not batch, and tensors carry no leading batch dimension.
    `inputs` and `outputs` are the names that the model has: releases differ. `others`: further servers of the same model, as `url`,
    among which the client deals the requests in turn. `encoder`: of a model that embeds, in one answer a
    request. `engine_model`: the model inside that runs the engine, where this one is around it and says which. `accumulates`: each
    response carries all the text so far. `unanswered`: the calls about it that the server did not answer, and why (see Questions).
    """

    url: str
    model: str
    version: str
    max_batch_size: int
    triton_version: str
    inputs: frozenset[str]
    outputs: frozenset[str]
    others: tuple[str, ...] = ()
    encoder: EncoderTensors | None = None
    engine_model: str = ""
    accumulates: bool = False
    server_name: str = ""
    unanswered: Mapping[str, str] = field(default_factory=dict)

    @property
    def batched(self) -> bool:
        """Tensors carry a leading batch dimension."""
        return self.max_batch_size > 0

    @cached_property
    def family(self) -> Family:
        family = family_of(self.inputs)
        assert family, "inspect_target lets no other model through"
        return family

    def input_name(self, role: Role) -> str | None:
        """What this release calls it; None where it has no such input."""
        return self.family.input_name(role, self.inputs)

    @cached_property
    def gives_times(self) -> bool:
        """The server tells its own instants of each request."""
        return self.input_name("return_times") is not None and self.outputs.issuperset(TIME_OUTPUTS)

    @cached_property
    def told_counts(self) -> tuple[str, ...]:
        """Outputs in which the engine tells what it counted of each request; it does so with its instants."""
        return () if self.input_name("return_times") is None else tuple(name for name in COUNT_OUTPUTS if name in self.outputs)

    @property
    def returns_metrics(self) -> bool:
        """Whether there is anything to be had by asking for a request's performance metrics."""
        return self.gives_times or bool(self.told_counts)

    @cached_property
    def tells_output_count(self) -> bool:
        """Of a model that answers in text: each response tells how many tokens it carries."""
        return self.family.name != "ids" and OUTPUT_COUNT in self.outputs and self.input_name("return_output_count") is not None

    @cached_property
    def tells_input_count(self) -> bool:
        """Of a model that takes text: it tells how many tokens its own tokenizer made of the prompt."""
        return self.family.name != "ids" and INPUT_COUNT in self.outputs and self.input_name("return_input_count") is not None

    @cached_property
    def tells_finish(self) -> bool:
        """It tells why an output ended: by "length", it has the tokens that were asked."""
        return self.input_name("return_finish") is not None and FINISH_OUTPUT in self.outputs

    @property
    def counts_tokens(self) -> bool:
        """Whether the tokens of a response can be known: by their ids, or because the server tells."""
        return self.family.name == "ids" or self.tells_output_count

    @cached_property
    def asked_outputs(self) -> tuple[str, ...]:
        """The outputs that every request names."""
        told = (*([OUTPUT_COUNT] if self.tells_output_count else ()), *([INPUT_COUNT] if self.tells_input_count else ()))
        finish = (FINISH_OUTPUT,) if self.tells_finish else ()
        return (*self.family.outputs, *(TIME_OUTPUTS if self.gives_times else ()), *self.told_counts, *told, *finish)

    def facts(self) -> dict[str, Any]:
        """What the run should know of how tokens are counted, plain JSON; nothing of a model that makes none."""
        if self.encoder:
            return {}
        return {
            "family": self.family.name,
            "token_counts": "ids" if self.family.name == "ids" else "server" if self.tells_output_count else None,
            "input_counts": "ids" if self.family.name == "ids" else "server" if self.tells_input_count else "tokenizer",
            "forces_length": self.input_name("end_id") is not None,
        }


def inspect_target(
    url: str, model: str, version: str = "", timeout_s: float = 5.0, settings: ClientSettings = _DEFAULTS, task: TaskName = GENERATE.name
) -> Target:
    """Ask a running server about a model, the way `settings` say; TargetError when it cannot be put under this load.

    AddressError when no gRPC server answers at `url`, UserError when a file or a header of `settings` cannot be used. What the server
    refuses to answer is left out where the load can do without. Blocks up to about `timeout_s` a call.
    """
    if version and not (version.isascii() and version.isdigit() and len(version) <= _VERSION_DIGITS):
        raise TargetError(
            f"--model-version {shown(version, 40)}: versions are whole numbers; leave it out for the one that the server chooses, "
            "by default the latest"
        )
    metadata = metadata_of(settings.headers)
    check_address(url, settings, timeout_s)
    with open_channel(url, settings, MOST_ANSWER_BYTES) as channel:
        questions = Questions(channel, metadata, timeout_s)
        _check_ready(questions, url, model, version)
        config = questions.config(model, version)
        if config is None:
            raise TargetError(f"{url}: {_silence(questions, model)}")
        server = questions.ask("ServerMetadata")
        questions.ask("ModelStatistics", name=model, version=version)
    target = Target(
        url=url,
        model=model,
        version=version,
        max_batch_size=config.max_batch_size,
        triton_version=server.version[:_VERSION_CHARACTERS] if server else "",
        server_name=server.name[:_VERSION_CHARACTERS] if server else "",
        inputs=frozenset(tensor.name for tensor in config.input),
        outputs=frozenset(tensor.name for tensor in config.output),
        engine_model=_engine_model(config),
        accumulates="sampling_param_max_tokens" in {tensor.name for tensor in config.input}
        or _parameter(config, "accumulate_tokens") == "true",
        unanswered=questions.unanswered,
    )
    return _FITTED[task](target, config)


def _check_ready(questions: Questions, url: str, model: str, version: str) -> None:
    """Of this model alone: others of the server may be broken."""
    answer = questions.ask("ModelReady", name=model, version=version)
    if answer is None or answer.ready:
        return
    try:
        state = questions.state(model, version)
    except UnknownModelError as error:
        raise TargetError(f"{url}: {error}") from error
    where = f"{shown(model)!r} version {version}" if version else repr(shown(model))
    raise TargetError(f"{url}: model {where} is {state}")


def _silence(questions: Questions, model: str) -> str:
    said = "; ".join(f"{call}: {why}" for call, why in questions.unanswered.items())
    return f"the server does not say which tensors model {shown(model)!r} takes ({said}): {remedy(questions.unanswered)}"


def _engine_model(config: Any) -> str:
    """Of an ensemble the step that makes token ids, of tensorrt_llm_bls the one that it names; "" of a model that stands alone."""
    steps = [step.model_name for step in config.ensemble_scheduling.step if "output_ids" in step.output_map]
    return steps[0] if steps else _parameter(config, "tensorrt_llm_model_name")


def _parameter(config: Any, key: str) -> str:
    return str(config.parameters[key].string_value) if key in config.parameters else ""


def _embedding(target: Target, config: Any) -> Target:
    if "ModelConfig" in target.unanswered:
        config.model_transaction_policy.decoupled = False
    try:
        return replace(target, encoder=read_tensors(config))
    except ValueError as error:
        raise TargetError(f"{target.url}: model {shown(target.model)!r} {error}") from error


def _generating(target: Target, config: Any) -> Target:
    name = f"{target.url}: model {shown(target.model)!r}"
    if target.inputs and set(target.inputs) <= ENCODER_INPUTS and not config.model_transaction_policy.decoupled:
        raise TargetError(f"{name} embeds, it generates nothing (it takes {names(target.inputs)}): give --task embed")
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
    if target.family.one_dimensional and target.batched:
        raise TargetError(
            f"{name} has max_batch_size {target.max_batch_size}, but the llmapi model takes one prompt without a batch dimension; "
            "set triton_config: max_batch_size: 0 in its model.yaml"
        )
    if not config.model_transaction_policy.decoupled:
        raise TargetError(f"{name} is not decoupled, it cannot stream tokens; set {target.family.decoupled_by}")
    return target


_FITTED: dict[TaskName, Callable[[Target, Any], Target]] = {GENERATE.name: _generating, EMBED.name: _embedding}
"""The target as a task's client needs it; TargetError when the model is not one for the task."""


def _check_type(name: str, datatype: str, tensor: Any) -> None:
    found = tensor and datatype_of(tensor)
    if found not in (None, datatype, "INVALID"):  # invalid: not said
        raise TargetError(f"{name} takes {shown(tensor.name)} as {found}, TensorRT-LLM's models as {datatype}: a model of another make")
