"""What clients have in common about a request in flight."""

from __future__ import annotations

import pytest

from tests.support.asking import new_record
from trtbench.client.in_flight import mark_read_with_end, responses_left


@pytest.mark.parametrize(
    ("asked", "tokens", "last", "responses", "left"),
    [
        (8, 3, 1, 3, 5),
        (8, 8, 1, 8, 0),
        (8, 4, 2, 2, 2),
        (8, 5, 2, 3, 2),  # the last response has one token
        (8, 12, 4, 3, 5),  # more tokens than were asked for: each response counts as one
        (8, 0, 0, 3, 5),  # of an unknown number
        (8, 9, 1, 9, -1),
    ],
)
def test_how_many_responses_are_left(asked: int, tokens: int, last: int, responses: int, left: int) -> None:
    assert responses_left(asked, tokens, last, responses) == left


@pytest.mark.parametrize(
    ("arrivals", "coalesced", "left"),
    [
        ([1, 2, 3], [2], []),  # with the end of the answer, and nothing else
        ([3], [0], []),
        ([1, 3, 3], [1, 2], [1, 2]),  # with another token
        ([1, 2, 3], [0, 1, 2], [0, 1]),  # the first two in another read
        ([1, 2, 3], [0], [0]),
        ([1, 2, 3], [1], [1]),
    ],
)
def test_a_last_token_that_is_read_with_the_end_only(arrivals: list[int], coalesced: list[int], left: list[int]) -> None:
    record = new_record()
    record.token_ns, record.coalesced = arrivals, [*coalesced]
    mark_read_with_end(record)
    assert (record.coalesced, record.read_with_end) == (left, left != coalesced)
