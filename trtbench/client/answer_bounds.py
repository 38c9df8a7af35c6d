"""Bounds on what a client keeps of one answer, whatever a server sends (docs/truth.md).

They grow with the requested length, so that no valid answer exceeds them.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

LONGEST_LAG_NS = 2**31 - 1
"""The largest value of an array("i"): a lag of more than 2 s is recorded as this."""
_SPARE = 1 << 16
_TEXT_BYTES_A_TOKEN = 64


def most_responses(asked_tokens: int) -> int:
    """The most responses with output that a request may get. A request with more is given up, because their instants cannot all be kept."""
    return 4 * asked_tokens + _SPARE


def most_ids(asked_tokens: int) -> int:
    """The number of output ids that are kept, from the first one on; all are counted."""
    return 2 * asked_tokens + _SPARE


def most_text_bytes(asked_tokens: int, request_bytes: int) -> int:
    """The bytes of output text that are kept, from its beginning on. The text may contain the prompt, which is part of the request."""
    return _SPARE + _TEXT_BYTES_A_TOKEN * asked_tokens + request_bytes


def too_many_responses(asked_tokens: int) -> str:
    """The error of a request that is given up because it gets too many responses."""
    return f"the server sent more than {most_responses(asked_tokens)} responses with output, where {asked_tokens} tokens were requested"


def output_count_beyond(counted: int, asked_tokens: int) -> str:
    """The error of an answer in which the server counts `counted` tokens; empty if that is within bounds."""
    most = most_ids(asked_tokens)
    return "" if counted <= most else f"num_output_tokens is {counted}: out of range, 0 to {most} where {asked_tokens} tokens are requested"


def input_count_beyond(counted: int, request_bytes: int) -> str:
    """The same for the tokens of the prompt, which are at most its bytes, plus the tokens that a template adds."""
    most = _SPARE + request_bytes
    return "" if counted <= most else f"num_input_tokens is {counted}: out of range, 0 to {most} for a request of {request_bytes} bytes"


def negative_id(ids: Sequence[int] | array[int]) -> str:
    """The error of an answer with an invalid token id; empty if all are valid. An id above 2^31 - 1, read as INT32, is negative."""
    return "" if not ids or (least := min(ids)) >= 0 else f"output_ids has {least}: token ids are 0 to 2147483647"
