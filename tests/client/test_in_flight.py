"""What clients have in common about a request in flight."""

from __future__ import annotations

import pytest

from trtbench.client.in_flight import responses_left


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
