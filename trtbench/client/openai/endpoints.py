"""Endpoints: the ways in which servers take a prompt over HTTP, by the name that `--endpoint-type` has for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from trtbench.client.kserve.family import FAMILIES, Role, family_of, sampling_parameters
from trtbench.client.openai.answer_events import Piece, generated_piece, openai_piece
from trtbench.client.openai.request_shape import PromptForm, RequestShape
from trtbench.plan.plan import PlannedPrompt
from trtbench.scenario.workload.workload import Sampling, Workload


@dataclass(frozen=True)
class Endpoint:
    """A way to ask for an output.

    `path(model, streaming)` is the request target below the prefix of the URL. `body(model, shape, prompt, ids, workload)` are the keys of
    a request; `ids` are the prompt's, with those of its context. `decode` reads an event or a whole answer; it raises ValueError.
    `prompts` are the forms of prompts that a server may take, the best first. `length_keys` likewise. With `marks_end` a stream ends with
    [DONE] and a reason why the output finished. `has_models`: the server lists its models at /v1/models.
    """

    name: str
    path: Callable[[str, bool], str]
    body: Callable[[str, RequestShape, PlannedPrompt, Sequence[int], Workload], dict[str, Any]]
    decode: Callable[[bytes], Piece]
    prompts: tuple[PromptForm, ...]
    length_keys: tuple[str, ...]
    marks_end: bool
    has_models: bool


def _sampling(sampling: Sampling, seed: int) -> dict[str, Any]:
    if not sampling.temperature:
        return {"temperature": 0}
    values = {"temperature": sampling.temperature, "top_p": sampling.top_p, "seed": seed}
    return values | ({"top_k": sampling.top_k} if sampling.top_k else {})


def _openai_body(shape: RequestShape, prompt: PlannedPrompt, workload: Workload) -> dict[str, Any]:
    """The keys that both endpoints of OpenAI's API have in common."""
    return {
        shape.length_key: prompt.output_tokens,
        "stream": workload.streaming,
        **_sampling(workload.sampling, prompt.seed),
        **shape.optional(prompt.output_tokens, workload.streaming, workload.ignore_eos),
        **shape.extra,
    }


def _completion(model: str, shape: RequestShape, prompt: PlannedPrompt, ids: Sequence[int], workload: Workload) -> dict[str, Any]:
    return {"model": model, "prompt": list(ids) if shape.prompt == "ids" else prompt.text} | _openai_body(shape, prompt, workload)


def _chat(model: str, shape: RequestShape, prompt: PlannedPrompt, ids: Sequence[int], workload: Workload) -> dict[str, Any]:
    system = [{"role": "system", "content": shape.system_prompt}] if shape.system_prompt else []
    return {"model": model, "messages": [*system, {"role": "user", "content": prompt.text}]} | _openai_body(shape, prompt, workload)


def _generate(model: str, shape: RequestShape, prompt: PlannedPrompt, ids: Sequence[int], workload: Workload) -> dict[str, Any]:
    """The tensors of the model that the request may specify. An input that it does not have is left out."""
    family = family_of(shape.tensors) or FAMILIES["text"]
    values: dict[Role, Any] = {
        "prompt": prompt.text,
        "output_tokens": prompt.output_tokens,
        "stream": workload.streaming,
        "exclude_prompt": True,
        "end_id": -1 if workload.ignore_eos else None,
        "return_output_count": True,
        "return_input_count": True,
        "return_finish": True,
        "sampling_parameters": sampling_parameters(prompt.output_tokens, workload.ignore_eos, workload.sampling, prompt.seed),
        **_generate_sampling(workload.sampling, prompt.seed),
    }
    named = {family.input_name(role, shape.tensors): value for role, value in values.items() if value is not None}
    return {name: value for name, value in named.items() if name} | dict(shape.extra)


def _generate_sampling(sampling: Sampling, seed: int) -> dict[Role, Any]:
    if not sampling.temperature:
        return {"top_k": 1}  # this is greedy sampling in every release, and a temperature of 0 is not
    return {"temperature": sampling.temperature, "top_k": sampling.top_k, "top_p": sampling.top_p, "seed": seed}


def _generate_path(model: str, streaming: bool) -> str:
    return f"/v2/models/{quote(model, safe='')}/generate{'_stream' if streaming else ''}"


COMPLETIONS = Endpoint(
    name="openai-completions",
    path=lambda model, streaming: "/v1/completions",
    body=_completion,
    decode=openai_piece,
    prompts=("ids", "text"),
    length_keys=("max_tokens",),
    marks_end=True,
    has_models=True,
)
CHAT = Endpoint(
    name="openai-chat",
    path=lambda model, streaming: "/v1/chat/completions",
    body=_chat,
    decode=openai_piece,
    prompts=("messages",),
    length_keys=("max_completion_tokens", "max_tokens"),
    marks_end=True,
    has_models=True,
)
GENERATE = Endpoint(
    name="generate",
    path=_generate_path,
    body=_generate,
    decode=generated_piece,
    prompts=("text",),
    length_keys=("max_tokens",),
    marks_end=False,
    has_models=False,
)

ENDPOINTS: Mapping[str, Endpoint] = {endpoint.name: endpoint for endpoint in (COMPLETIONS, CHAT, GENERATE)}
