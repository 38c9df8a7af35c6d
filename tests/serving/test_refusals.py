"""Requests that can never be served get an error of their own class, at once, and cost the others nothing."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.triton.kserve import Serving, ask
from trtbench.client.request_outcome import classify
from trtbench.rundir.records import Outcome

pytestmark = [pytest.mark.triton, pytest.mark.timeout(60, func_only=True)]

REFUSED: dict[str, tuple[dict[str, Any], str, Outcome]] = {
    "prompt over the positions": ({"input_ids": [5] * 8192}, "exceeds maximum input length", Outcome.TOO_LONG),
    "prompt and output over the positions": (
        {"input_ids": [5] * 8000, "request_output_len": 200},
        "is larger than the maximum sequence length (8192)",
        Outcome.TOO_LONG,
    ),
    "over the whole KV cache": ({"input_ids": [5] * 760, "request_output_len": 9}, "the KV cache", Outcome.TOO_LONG),
    "id past the vocabulary": ({"input_ids": [5, 49152]}, "input_ids must lie in 0..49151", Outcome.OTHER),
    "negative id": ({"input_ids": [5, -1]}, "input_ids must lie in 0..49151", Outcome.OTHER),
    "no prompt": ({}, "Give input_ids or text_input", Outcome.OTHER),
    "empty text": ({"text_input": ""}, "The prompt has no tokens", Outcome.OTHER),
    "no output length": ({"input_ids": [5], "request_output_len": None}, "request_output_len", Outcome.OTHER),
    "output of no tokens": ({"input_ids": [5], "request_output_len": 0}, "at least 1", Outcome.OTHER),
    "negative output length": ({"input_ids": [5], "request_output_len": -3}, "at least 1", Outcome.OTHER),
    "input_lengths past the ids": ({"input_ids": [5, 6], "input_lengths": 3}, "input_lengths (3) does not fit", Outcome.OTHER),
    "a sampling parameter out of range": ({"input_ids": [5], "temperature": 1.0, "runtime_top_p": 2.0}, "top_p", Outcome.OTHER),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_never_be_served_is_refused(int8_server: Serving, name: str) -> None:
    asked, text, outcome = REFUSED[name]
    tensors = {key: value for key, value in ({"request_output_len": 4, "end_id": -1} | asked).items() if value is not None}
    answer = ask(int8_server.url, int8_server.engine.model, **tensors)
    assert text in answer.error
    assert classify("", answer.error) is outcome
    assert answer.ids == []


def test_the_last_that_fits_is_served(int8_server: Serving) -> None:
    """24 blocks of 32 tokens: the request above that was refused is one token longer."""
    answer = ask(int8_server.url, int8_server.engine.model, input_ids=[5] * 760, request_output_len=8, end_id=-1, streaming=True)
    assert (answer.error, len(answer.ids)) == ("", 8)


def test_the_server_goes_on_serving(int8_server: Serving, prompts: list[list[int]]) -> None:
    answer = ask(int8_server.url, int8_server.engine.model, input_ids=prompts[0], request_output_len=4, end_id=-1, streaming=True)
    assert (answer.error, len(answer.ids)) == ("", 4)
