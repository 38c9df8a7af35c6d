"""The account of one answer: which events carry tokens, how many, and when the first of the answer itself came."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.client.openai.answer_events import Piece
from trtbench.client.openai.request_shape import CountSource
from trtbench.client.openai.token_account import TokenAccount, spread
from trtbench.rundir.records import RequestRecord


def record_of(source: CountSource, pieces: Sequence[Piece], accumulates: bool = False, alone: bool = True) -> RequestRecord:
    account = TokenAccount(source, 16, 1000, accumulates)
    for number, piece in enumerate(pieces):
        account.take(piece, 100 + number, 1, alone)
    record = RequestRecord(0, "s", False, 0, 5, 16, 0)
    account.write_to(record)
    return record


def test_a_role_an_empty_text_and_a_usage_are_no_first_token() -> None:
    pieces = [Piece(text=""), Piece(text="a"), Piece(text="b", finish_reason="stop"), Piece(total_tokens=2, prompt_tokens=7)]
    record = record_of("last_usage", pieces)
    assert (record.token_ns, record.token_counts, record.output_text) == ([101, 102], [1, 1], "")
    assert (record.input_tokens, record.planned_input_tokens) == (7, 5)
    assert record_of("last_usage", [Piece(prompt_tokens=5)]).planned_input_tokens is None


def test_an_event_counts_as_many_tokens_as_it_has_ids() -> None:
    record = record_of("token_ids", [Piece(text=""), Piece(text="a", ids=[1, 2]), Piece(text="", ids=[3])])
    assert (record.token_ns, record.token_counts, record.output_ids) == ([101, 102], [2, 1], [1, 2, 3])


def test_a_running_usage_is_counted_by_its_growth() -> None:
    totals = (0, 1, 1, 4)
    record = record_of("running_usage", [Piece(text="x", total_tokens=total) for total in totals])
    assert (record.token_ns, record.token_counts) == ([101, 103], [1, 3])


def test_counts_of_each_event_are_taken_as_they_are() -> None:
    record = record_of("own_count", [Piece(text="x", own_tokens=2), Piece(text="", own_tokens=0), Piece(text="y", own_tokens=1)])
    assert (record.token_ns, record.token_counts) == ([100, 102], [2, 1])


def test_the_tokens_of_a_last_usage_are_spread_over_the_events() -> None:
    record = record_of("last_usage", [Piece(text="abc"), Piece(text="d"), Piece(text="e"), Piece(total_tokens=7)])
    assert record.token_counts == [3, 2, 2]


def test_an_answer_that_nothing_counts_keeps_its_text() -> None:
    record = record_of("tokenizer", [Piece(reasoning="r"), Piece(text="a"), Piece(text="b")])
    assert (record.token_counts, record.output_text, record.counts_tokens) == ([0, 0, 0], "rab", False)


def test_an_empty_text_inside_an_answer_is_a_token_within_a_character() -> None:
    record = record_of(
        "tokenizer", [Piece(text=""), Piece(text="a"), Piece(text=""), Piece(text="b"), Piece(text="", finish_reason="stop")]
    )
    assert record.token_ns == [101, 102, 103]


def test_reasoning_counts_for_the_first_token_and_not_for_the_first_output() -> None:
    pieces = [Piece(text="", ids=[]), Piece(reasoning="r", ids=[1]), Piece(text="", ids=[2]), Piece(text="a", ids=[3])]
    record = record_of("token_ids", pieces)
    assert (record.token_ns, record.reasoning_responses) == ([101, 102, 103], 2)


def test_an_answer_without_reasoning_has_none() -> None:
    assert record_of("token_ids", [Piece(text="", ids=[1]), Piece(text="a", ids=[2])]).reasoning_responses == 0


def test_of_events_that_repeat_the_text_so_far_only_what_is_new_counts() -> None:
    pieces = [Piece(text="a"), Piece(text="a"), Piece(text="a\ufffd"), Piece(text="a\u00e9"), Piece(text="a\u00e9", finish_reason="length")]
    record = record_of("tokenizer", pieces, accumulates=True)
    assert (record.token_ns, record.output_text) == ([100, 101, 102, 103], "a\u00e9")


def test_events_that_were_read_together_say_so() -> None:
    assert record_of("token_ids", [Piece(text="a", ids=[1]), Piece(text="b", ids=[2])], alone=False).coalesced == [0, 1]


def test_impossible_counts_are_faults() -> None:
    account = TokenAccount("last_usage", 16, 1000)
    account.take(Piece(total_tokens=2**31 - 1, prompt_tokens=3), 1, None, True)
    assert "output tokens: out of range" in account.fault(10)
    account = TokenAccount("last_usage", 16, 1000)
    account.take(Piece(total_tokens=2, prompt_tokens=30), 1, None, True)
    assert "in the prompt: out of range" in account.fault(10)


@pytest.mark.parametrize(("tokens", "events", "counts"), [(5, 5, [1] * 5), (2, 4, [1, 0, 1, 0]), (0, 2, [0, 0]), (3, 0, [])])
def test_spread(tokens: int, events: int, counts: list[int]) -> None:
    assert spread(tokens, events) == counts


@given(st.integers(1, 1000), st.integers(1, 300))
def test_spread_keeps_the_sum_and_begins_with_a_token(tokens: int, events: int) -> None:
    counts = spread(tokens, events)
    assert sum(counts) == tokens and counts[0] >= 1 and max(counts) - min(counts) <= 1
