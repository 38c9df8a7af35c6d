"""The class of a refused request, by the status and the words of real servers."""

from __future__ import annotations

import pytest

from trtbench.client.openai.answer_events import openai_piece
from trtbench.client.openai.http_errors import event_error, status_error
from trtbench.rundir.records import Outcome

VLLM_TOO_LONG = (
    '{"error":{"message":"This model\'s maximum context length is 1024 tokens. However, you requested 1500 output tokens and your prompt '
    'contains 8 input tokens, for a total of 1508 tokens.","type":"BadRequestError","param":"input_tokens","code":400}}'
)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (401, '{"error": "Unauthorized"}', Outcome.DENIED),
        (403, "", Outcome.DENIED),
        (404, '{"error": {"message": "The model `x` does not exist."}}', Outcome.UNAVAILABLE),
        (408, "", Outcome.TIMEOUT),
        (504, "upstream request timeout", Outcome.TIMEOUT),
        (413, "", Outcome.TOO_LONG),
        (400, VLLM_TOO_LONG, Outcome.TOO_LONG),
        (400, '{"error": {"message": "Input length 4096 exceeds max_num_tokens 2048"}}', Outcome.TOO_LONG),
        (422, '{"detail": [{"msg": "Extra inputs are not permitted"}]}', Outcome.BAD_REQUEST),
        (400, '{"error": "unknown role"}', Outcome.BAD_REQUEST),
        (429, '{"error": {"message": "Rate limit reached"}}', Outcome.REJECTED),
        (499, "", Outcome.UNAVAILABLE),
        (500, '{"error": "CUDA error: out of memory"}', Outcome.OUT_OF_MEMORY),
        (500, "internal error", Outcome.UNAVAILABLE),
        (503, '{"error": "Exceeds maximum queue size"}', Outcome.REJECTED),
        (200, "an HTML page answers", Outcome.OTHER),
        (307, "the server redirects", Outcome.OTHER),
    ],
)
def test_classes(status: int, body: str, outcome: Outcome) -> None:
    found, error = status_error(status, body)
    assert found is outcome
    assert error.startswith(f"HTTP {status}")


@pytest.mark.parametrize(
    ("message", "outcome"),
    [
        (b'{"error": {"message": "Rate limit reached", "code": 429}}', Outcome.REJECTED),
        (b'{"error": "maximum context length is 8"}', Outcome.TOO_LONG),
        (b'{"error": "CUDA error: out of memory"}', Outcome.OUT_OF_MEMORY),
        (b'{"error": "something"}', Outcome.OTHER),
    ],
)
def test_an_error_event_says_that_the_status_was_200(message: bytes, outcome: Outcome) -> None:
    found, error = event_error(openai_piece(message))
    assert found is outcome
    assert error.startswith("error event under HTTP status 200: ")
