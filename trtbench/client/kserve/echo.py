"""The prompt before the output: a model that was not told to leave it out, or does not, sends it with its first tokens."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2

from trtbench.client.kserve.family import FAMILIES, Role, family_of
from trtbench.client.kserve.messages import Response
from trtbench.client.kserve.response_tensors import text_of
from trtbench.rundir.records import RequestRecord

_SURE_TOKENS = 4
"""A first response of a stream that begins with so long a prompt, whole, is an echo: a model makes few tokens at a time."""


def without_echo(response: Response, sent: bytes, record: RequestRecord) -> Response:
    """The first response that carries output, less the prompt; `record.echoed_tokens` says how many tokens were taken off.

    `sent`: the request as it went out. An echo is told from an output that begins like the prompt by what was asked: no model makes
    more tokens than that, and none in a stream as many at once.
    """
    carried = len(response.tokens) if response.tokens else len(response.text or b"")
    if carried < record.input_tokens:  # a text has a byte at least for each token
        return response
    inputs = _inputs(sent)
    prompt = inputs.get("prompt", b"")
    if response.text is not None:
        return _text_less(response, text_of(prompt), inputs, record)
    ids = np.frombuffer(prompt, "<i4").tolist()
    if list(response.tokens[: len(ids)]) != ids or not _is_echo(response, len(ids), inputs, record):
        return response
    record.echoed_tokens = len(ids)
    return response._replace(tokens=response.tokens[len(ids) :])


def _text_less(response: Response, prompt: bytes, inputs: dict[Role, bytes], record: RequestRecord) -> Response:
    """Tokenizers may put a space before a text; the server's count has the echo's tokens in it."""
    text, tokens = (response.text or b"").lstrip(), response.input_tokens or record.input_tokens
    if not text.startswith(prompt.strip()) or not _is_echo(response, tokens, inputs, record):
        return response
    record.echoed_tokens = tokens
    told = response.told_tokens
    left = text[len(prompt.strip()) :]
    if told is None and not left:
        return response._replace(text=None)  # nothing but the prompt
    return response._replace(text=left, told_tokens=None if told is None else max(0, told - tokens))


def _is_echo(response: Response, prompt_tokens: int, inputs: dict[Role, bytes], record: RequestRecord) -> bool:
    if "exclude_prompt" not in inputs or response.new_tokens > record.asked_output_tokens:
        return True
    return inputs.get("stream") == b"\1" and prompt_tokens >= _SURE_TOKENS


def _inputs(sent: bytes) -> dict[Role, bytes]:
    """The raw inputs of a request, by what they are for."""
    request: Any = service_pb2.ModelInferRequest.FromString(sent)
    raw = {tensor.name: data for tensor, data in zip(request.inputs, request.raw_input_contents, strict=False)}
    family = family_of(raw) or FAMILIES["ids"]
    names: Sequence[tuple[Role, str | None]] = [(role, family.input_name(role, raw)) for role in family.inputs]
    return {role: raw[name] for role, name in names if name}
