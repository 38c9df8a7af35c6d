"""Bounds on what a server can make the client keep of one request, whatever it sends (docs/truth.md).

They grow with what was asked, so that no honest answer meets them.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

_SPARE = 1 << 16
_TEXT_BYTES_A_TOKEN = 64


def most_responses(asked_tokens: int) -> int:
    """Responses with output; a request that gets more is given up: their instants could not all be kept."""
    return 4 * asked_tokens + _SPARE


def most_ids(asked_tokens: int) -> int:
    """Output ids that are kept, the first ones; all are counted."""
    return 2 * asked_tokens + _SPARE


def most_text_bytes(asked_tokens: int, request_bytes: int) -> int:
    """Output text that is kept, its beginning; the prompt, which may come back in it, is a part of the request."""
    return _SPARE + _TEXT_BYTES_A_TOKEN * asked_tokens + request_bytes


def too_many_responses(asked_tokens: int) -> str:
    """The error of a request that is given up for their number."""
    return f"the server sent more than {most_responses(asked_tokens)} responses with output, where {asked_tokens} tokens were asked for"


def output_count_beyond(counted: int, asked_tokens: int) -> str:
    """The error of an answer of which the server counts so many tokens; "" where they are within bounds."""
    most = most_ids(asked_tokens)
    return "" if counted <= most else f"num_output_tokens is {counted}: out of range, 0 to {most} where {asked_tokens} tokens are asked for"


def input_count_beyond(counted: int, request_bytes: int) -> str:
    """The same of the prompt, which has no more tokens than bytes but for those that a template adds."""
    most = _SPARE + request_bytes
    return "" if counted <= most else f"num_input_tokens is {counted}: out of range, 0 to {most} for a request of {request_bytes} bytes"


def negative_id(ids: Sequence[int] | array[int]) -> str:
    """The error of an answer with an id that no token has; "" where all are in order. Ids above 2^31 - 1 read as INT32 are negative."""
    return "" if not ids or (least := min(ids)) >= 0 else f"output_ids has {least}: token ids are 0 to 2147483647"
