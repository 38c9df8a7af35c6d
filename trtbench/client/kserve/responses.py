"""Reads one message of a request's stream into its record, and removes an echo of the prompt from its output.

A model may send the prompt with its first tokens, because it cannot be asked to leave it out or ignores that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from tritonclient.grpc import service_pb2

from trtbench.client.answer_bounds import input_count_beyond, most_text_bytes, output_count_beyond
from trtbench.client.kserve.family import FAMILIES, Role, family_of
from trtbench.client.kserve.messages import Response, decode_response
from trtbench.client.kserve.response_tensors import text_of
from trtbench.rundir.records import RequestRecord

_SURE_TOKENS = 4
"""If a first response of a stream begins with a whole prompt of this length or more, it is an echo: a model makes few tokens at a time."""


def without_echo(response: Response, sent: bytes, record: RequestRecord) -> Response:
    """The first response with output, without an echo of the prompt; `record.echoed_tokens` is the number of tokens that were removed.

    `sent` is the request as it was sent. An echo is distinguished from an output that happens to begin like the prompt by its length: no
    model makes more tokens than were requested, and in a stream none makes that number at once.
    """
    carried = len(response.tokens) if response.tokens else len(response.text or b"")
    if carried < record.input_tokens:  # a text has at least one byte for each token
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
    """The response without the text of the prompt. A tokenizer may add a space before a text; the server's count includes the echo."""
    text, tokens = (response.text or b"").lstrip(), response.input_tokens or record.input_tokens
    if not text.startswith(prompt.strip()) or not _is_echo(response, tokens, inputs, record):
        return response
    record.echoed_tokens = tokens
    reported = response.reported_tokens
    left = text[len(prompt.strip()) :]
    if reported is None and not left:
        return response._replace(text=None)  # only the prompt
    return response._replace(text=left, reported_tokens=None if reported is None else max(0, reported - tokens))


def _is_echo(response: Response, prompt_tokens: int, inputs: dict[Role, bytes], record: RequestRecord) -> bool:
    if "exclude_prompt" not in inputs or response.new_tokens > record.asked_output_tokens:
        return True
    return inputs.get("stream") == b"\1" and prompt_tokens >= _SURE_TOKENS


def _inputs(sent: bytes) -> dict[Role, bytes]:
    """The raw inputs of a request, by their roles."""
    request: Any = service_pb2.ModelInferRequest.FromString(sent)
    raw = {tensor.name: data for tensor, data in zip(request.inputs, request.raw_input_contents, strict=False)}
    family = family_of(raw) or FAMILIES["ids"]
    names: Sequence[tuple[Role, str | None]] = [(role, family.input_name(role, raw)) for role in family.inputs]
    return {role: raw[name] for role, name in names if name}


def read_response(record: RequestRecord, message: bytes, sent: bytes, started: bool, accumulates: bool) -> tuple[Response, bool]:
    """(Response in a message without an echo of the prompt, whether it has output). What belongs to the whole request goes into `record`.

    Output is a token or a text, or an empty piece of text if some text came before (`started`). Decoding each message as it arrives costs
    10 us while nothing waits. Decoding all of them after the last one would take a millisecond just when the user's next request is due.
    """
    try:
        response = decode_response(message)
    except ValueError as error:
        return Response(error=f"malformed response: {error}"), False
    asked = record.asked_output_tokens
    if beyond := output_count_beyond(response.reported_tokens or 0, asked) or input_count_beyond(response.input_tokens or 0, len(sent)):
        return Response(error=f"malformed response: {beyond}"), False
    before = len(record.output_text)
    keep_text(record, response, most_text_bytes(asked, len(sent)), accumulates)
    if accumulates and response.text and len(record.output_text) == before:
        response = response._replace(text=b"")  # nothing new
    if response.carries and not started:
        response = without_echo(response, sent, record)
    record.finish_reason = response.finish_reason or record.finish_reason
    record.input_tokens = response.input_tokens or record.input_tokens
    record.server = response.times or record.server
    record.engine = response.counts or record.engine
    record.model_version = response.model_version or record.model_version
    return response, response.carries or (started and response.is_empty_piece)


def keep_text(record: RequestRecord, response: Response, most_bytes: int, accumulates: bool) -> None:
    """Keep the text of a response if the server does not report its number of tokens, so that they can be counted after the load.

    A piece may end inside a character; bytes that are not valid UTF-8 yet are kept unchanged until `whole_text`.
    """
    if response.text and response.reported_tokens is None:
        text = response.text[:most_bytes].decode("utf-8", "surrogateescape")
        record.output_text = text if accumulates else (record.output_text + text)[:most_bytes]


def whole_text(record: RequestRecord) -> None:
    """Replace what is not valid UTF-8 in the output text, once the request is over."""
    if record.output_text:
        record.output_text = record.output_text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
