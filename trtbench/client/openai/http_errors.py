"""HTTP errors: the class of a request that a server refused by status, or by an error event under status 200."""

from __future__ import annotations

import re

from trtbench.client.openai.answer_events import Piece, error_text
from trtbench.client.request_outcome import classify
from trtbench.rundir.records import Outcome

_BY_STATUS = {
    401: Outcome.DENIED,
    403: Outcome.DENIED,
    404: Outcome.UNAVAILABLE,
    407: Outcome.DENIED,
    408: Outcome.TIMEOUT,
    413: Outcome.TOO_LONG,
    429: Outcome.REJECTED,
    499: Outcome.UNAVAILABLE,
    504: Outcome.TIMEOUT,
}
_TOO_LONG = re.compile(
    r"maximum (context|model|input|prompt|sequence) ?(length|len)|max_model_len|context length|longer than the (model|maximum)"
    r"|too long|exceeds? .{0,40}(max_seq_len|max_num_tokens|context|maximum)",
    re.IGNORECASE,
)
"""What vLLM, trtllm-serve, NIM and OpenAI say of a prompt that does not fit, under status 400."""


def outcome_of(status: int, message: str) -> Outcome:
    """The class of an answer with this HTTP status, which is not that of an output, and this message."""
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if 400 <= status < 500:
        return Outcome.TOO_LONG if _TOO_LONG.search(message) else _known(message) or Outcome.BAD_REQUEST
    return _known(message) or Outcome.UNAVAILABLE if status >= 500 else Outcome.OTHER  # a redirect, a page under status 200


def status_error(status: int, body: str) -> tuple[Outcome, str]:
    """(Class, error) of a request that was answered with this HTTP status. `body` is the beginning of the answer, or what it means."""
    message = error_text(body)
    return outcome_of(status, message), f"HTTP {status}: {message}" if message else f"HTTP {status}"


def event_error(piece: Piece) -> tuple[Outcome, str]:
    """(Class, error) of an event with an error, under status 200."""
    if piece.error_status:
        outcome = outcome_of(piece.error_status, piece.error)
    else:
        outcome = Outcome.TOO_LONG if _TOO_LONG.search(piece.error) else classify("", piece.error)
    return outcome, f"error event under HTTP status 200: {piece.error}"


def _known(message: str) -> Outcome | None:
    """The class of a message that Triton or TensorRT-LLM words as over gRPC; None for any other."""
    found = classify("", message)
    return None if found is Outcome.OTHER else found
