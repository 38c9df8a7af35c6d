"""The inspection of an HTTP server before a run: which models it has, what it calls itself, and what its probe finds out."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import quote

from trtbench.client.kserve.family import INPUT_COUNT, OUTPUT_COUNT, family_of
from trtbench.client.openai.endpoints import ENDPOINTS
from trtbench.client.openai.http_questions import HttpQuestions
from trtbench.client.openai.probe import Probe
from trtbench.client.openai.request_shape import RequestShape
from trtbench.client.openai.target import OpenaiTarget
from trtbench.client.protocol import RequestOptions, TargetError
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.system.foreign_text import names, shown
from trtbench.tasks.generate import GENERATE
from trtbench.tasks.task import TaskName

_DEFAULTS, _NO_OPTIONS = ClientSettings(), RequestOptions()
_LONGEST_NAME = 100
_MOST_POSITIONS = 1 << 31
_OPTIONAL_TENSORS = ("end_id", "exclude_input_in_output", "return_num_input_tokens", "return_num_output_tokens", "return_finish_reason")
"""Inputs that each request has if the model has them, named in the report."""


def inspect_endpoint(
    url: str,
    model: str,
    version: str = "",
    timeout_s: float = 5.0,
    settings: ClientSettings = _DEFAULTS,
    task: TaskName = GENERATE.name,
    options: RequestOptions = _NO_OPTIONS,
) -> OpenaiTarget:
    """Ask a running HTTP server about a model, and probe `options.endpoint` with a few small requests. TargetError if it is unfit.

    AddressError if nothing listens at `url`, UserError if a file or a header of `settings` cannot be used. It blocks up to `timeout_s` for
    each question and a minute for each probe.
    """
    if task != GENERATE.name:
        raise TargetError(f"--endpoint-type {options.endpoint} generates; give --endpoint-type kserve for --task {task}")
    if version:
        raise TargetError(f"--model-version {shown(version, 40)}: --endpoint-type {options.endpoint} names no version; leave it out")
    if settings.streams_per_connection not in (None, 1):
        raise TargetError(
            f"--streams-per-connection {settings.streams_per_connection}: a connection of HTTP/1.1 carries one request; leave it out"
        )
    if options.system_prompt and "messages" not in ENDPOINTS[options.endpoint].prompts:
        raise TargetError(f"--system-prompt is for --endpoint-type openai-chat, this is {options.endpoint}: leave it out")
    questions = HttpQuestions(url, settings, timeout_s)
    wanted = RequestShape(extra=options.extra_inputs, system_prompt=options.system_prompt)
    target = OpenaiTarget(url=url, model=model, endpoint=options.endpoint, shape=wanted, streaming=options.streaming)
    target = (_listed if target.way.has_models else _of_triton)(target, questions)
    probe = Probe(questions, target.way, model, options.streaming)
    return replace(target, shape=probe.shape(target.shape))


def _listed(target: OpenaiTarget, questions: HttpQuestions) -> OpenaiTarget:
    """The target with what /v1/models says of it. A server without that page is probed nevertheless."""
    answer = questions.ask("/v1/models")
    tree = answer.tree if answer.status == 200 else None
    rows = tree.get("data") if isinstance(tree, dict) else None
    if not isinstance(rows, list):
        return target
    models = {row["id"]: row for row in rows if isinstance(row, dict) and isinstance(row.get("id"), str)}
    if target.model not in models:
        raise TargetError(f"{target.url}: the server has no model {shown(target.model)!r}; it has {names(models)}: give one as --model")
    row = models[target.model]
    server = _word(row.get("owned_by")) or _word(answer.headers.get("server"))
    version = questions.ask("/version")
    found = version.tree.get("version") if version.status == 200 and isinstance(version.tree, dict) else None
    return replace(target, server_name=server, server_version=_word(found), max_positions=_positions(row))


def _of_triton(target: OpenaiTarget, questions: HttpQuestions) -> OpenaiTarget:
    """The target with the tensors of its model, which are the keys of a request to generate."""
    answer = questions.ask(f"/v2/models/{quote(target.model, safe='')}/config")
    if answer.status != 200 or not isinstance(answer.tree, dict):
        index = questions.ask("/v2/repository/index", {})
        if index.status != 200 or not isinstance(index.tree, list):
            raise TargetError(
                f"{target.url}: the server has no Triton model {shown(target.model)!r} ({answer.error}): "
                "correct --model, or give the port of Triton's HTTP endpoint (8000 by default) in --url"
            )
        found = {row["name"] for row in index.tree if isinstance(row, dict) and isinstance(row.get("name"), str)}
        raise TargetError(f"{target.url}: model {shown(target.model)!r} is not served ({answer.error}); the server has {names(found)}")
    config: Mapping[str, Any] = answer.tree
    inputs, outputs = _tensors(config, "input"), _tensors(config, "output")
    _check_tensors(target, inputs, outputs)
    server = questions.ask("/v2").tree
    about = server if isinstance(server, dict) else {}
    unread = {INPUT_COUNT: "return_num_input_tokens", OUTPUT_COUNT: "return_num_output_tokens"}
    tensors = tuple(sorted(inputs - {name for output, name in unread.items() if output not in outputs}))
    return replace(
        target,
        shape=replace(target.shape, tensors=tensors, asked=tuple(name for name in _OPTIONAL_TENSORS if name in tensors)),
        server_name=_word(about.get("name")),
        server_version=_word(about.get("version")),
        accumulates="sampling_param_max_tokens" in inputs or _parameter(config, "accumulate_tokens") == "true",
    )


def _check_tensors(target: OpenaiTarget, inputs: Collection[str], outputs: Collection[str]) -> None:
    """TargetError for a model whose tensors generate does not fill."""
    family = family_of(inputs)
    name = f"{target.url}: model {shown(target.model)!r}"
    if family is None or family.name == "ids":
        raise TargetError(
            f"{name} takes no text_input (it takes {names(inputs)}): name the ensemble, tensorrt_llm_bls or the llmapi model, "
            "or give --endpoint-type kserve, which sends token ids"
        )
    if missing := family.missing(inputs, outputs):
        raise TargetError(f"{name} lacks {', '.join(missing)}: it is not a model that generates text for TensorRT-LLM's tensors")


def _tensors(config: Mapping[str, Any], key: str) -> frozenset[str]:
    rows = config.get(key)
    found = [row.get("name") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    return frozenset(name for name in found if isinstance(name, str))


def _parameter(config: Mapping[str, Any], key: str) -> str:
    parameters = config.get("parameters")
    value = parameters.get(key) if isinstance(parameters, dict) else None
    return str(value.get("string_value", "")) if isinstance(value, dict) else ""


def _positions(row: Mapping[str, Any]) -> int | None:
    """The longest sequence of a model, as vLLM reports it."""
    found = row.get("max_model_len")
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 < found < _MOST_POSITIONS else None


def _word(value: object) -> str:
    return value[:_LONGEST_NAME] if isinstance(value, str) else ""
