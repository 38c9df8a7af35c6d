"""Decoding of answers: bytes that real servers sent, and what no server should send."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.client.openai.answer_events import Piece, error_text, generated_piece, openai_piece

VLLM_COMPLETION = (
    b'{"id":"cmpl-8b0d1bcf34a94c4a","object":"text_completion","created":1764582000,"model":"smol","choices":[{"index":0,"text":" the",'
    b'"logprobs":null,"finish_reason":null,"stop_reason":null,"prompt_token_ids":null,"token_ids":[260]}],'
    b'"usage":{"prompt_tokens":16,"total_tokens":24,"completion_tokens":8}}'
)
VLLM_CHAT_ROLE = (
    b'{"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"smol","choices":[{"index":0,"delta":{"role":"assistant",'
    b'"content":""},"logprobs":null,"finish_reason":null}],"prompt_token_ids":[1,9690]}'
)
VLLM_CHAT_REASONING = (
    b'{"choices":[{"index":0,"delta":{"reasoning":"Hm","reasoning_content":"Hm"},"logprobs":null,"finish_reason":null,"token_ids":[9]}]}'
)
VLLM_USAGE = b'{"id":"c","choices":[],"usage":{"prompt_tokens":16,"total_tokens":20,"completion_tokens":4,"prompt_tokens_details":null}}'
TRITON_EVENT = b'{"model_name":"ensemble","model_version":"1","num_output_tokens":1,"sequence_id":0,"text_output":" he"}'


def test_an_event_of_vllm_has_its_ids_and_the_usage_so_far() -> None:
    piece = openai_piece(VLLM_COMPLETION)
    assert piece == Piece(text=" the", ids=[260], total_tokens=8, prompt_tokens=16)


def test_an_event_with_a_role_carries_nothing() -> None:
    piece = openai_piece(VLLM_CHAT_ROLE)
    assert (piece.text, piece.reasoning, list(piece.ids), piece.total_tokens) == ("", "", [], None)


def test_reasoning_is_apart_from_the_text() -> None:
    piece = openai_piece(VLLM_CHAT_REASONING)
    assert (piece.text, piece.reasoning, piece.ids) == ("", "Hm", [9])


def test_a_usage_alone_has_no_text() -> None:
    piece = openai_piece(VLLM_USAGE)
    assert (piece.text, piece.total_tokens, piece.prompt_tokens) == (None, 4, 16)


def test_an_answer_in_one_piece_is_read_likewise() -> None:
    body = b'{"choices":[{"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"completion_tokens":2}}'
    piece = openai_piece(body)
    assert (piece.text, piece.finish_reason, piece.total_tokens) == ("Hi", "stop", 2)


def test_an_event_of_generate_stream_counts_its_own_tokens() -> None:
    piece = generated_piece(TRITON_EVENT)
    assert (piece.text, piece.own_tokens, piece.model_version) == (" he", 1, "1")


@pytest.mark.parametrize(
    ("message", "error", "status"),
    [
        (b'{"error": "in ensemble: out of memory"}', "in ensemble: out of memory", 0),
        (b'{"error": {"message": "too long", "type": "BadRequestError", "code": 400}}', "too long", 400),
        (b'{"object": "error", "message": "EngineDeadError", "code": 500}', "EngineDeadError", 0),
        (b'{"error": {}}', "an error without a message", 0),
        (b'{"error": null, "object": "error"}', "an error without a message", 0),
    ],
)
def test_an_error_under_status_200_is_recognised(message: bytes, error: str, status: int) -> None:
    piece = openai_piece(message)
    assert (piece.error, piece.error_status) == (error, status)


@pytest.mark.parametrize(
    "message",
    [
        *(b"", b"hello", b"<html>", b"[]", b'{"choices": 3}', b"\xff", b'{"id": "x"}'),
        *(b'{"choices": [{"token_ids": [-1]}]}', b'{"choices":[{"text":1}]}'),
    ],
)
def test_anything_else_is_a_value_error_with_its_beginning(message: bytes) -> None:
    with pytest.raises(ValueError, match=":"):
        openai_piece(message)


def test_the_text_of_an_http_error_is_the_message_in_it() -> None:
    assert error_text('{"error": {"message": "The model `x` does not exist.", "code": 404}}') == "The model `x` does not exist."
    assert error_text('{"detail": "Not Found"}') == "Not Found"
    assert error_text('data: {"error":"in ensemble, too long"}') == "in ensemble, too long"
    assert error_text("overloaded") == "overloaded"
    assert error_text("[1]") == "[1]"
    assert error_text('{"x": 1}') == '{"x": 1}'


@given(st.binary(max_size=200))
def test_no_bytes_raise_anything_else(message: bytes) -> None:
    for decode in (openai_piece, generated_piece):
        with suppress(ValueError):
            decode(message)
    error_text(message.decode("utf-8", "replace"))


_KEYS = st.sampled_from(["choices", "usage", "error", "text", "delta", "token_ids", "text_output"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
def test_no_json_raises_anything_else(tree: object) -> None:
    message = json.dumps(tree).encode()
    for decode in (openai_piece, generated_piece):
        with suppress(ValueError):
            decode(message)
