from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.analysis.stats.error_shapes import commonest


def _once(*messages: str) -> list[tuple[str, int]]:
    return [(message, 1) for message in messages]


def test_messages_that_differ_by_an_id_are_one() -> None:
    full = [f"[request id: 3f9a0c{index:02x}-c8-m{index}] Exceeds maximum queue size" for index in range(30)]
    assert commonest([*_once(*full), ("CUDA error: out of memory", 29)]) == "[request id: …-c8-m…] Exceeds maximum queue size"


@pytest.mark.parametrize(
    ("messages", "shown"),
    [
        ([], ""),
        (["RST_STREAM with INTERNAL_ERROR"], "RST_STREAM with INTERNAL_ERROR"),
        (["limit 8192 met"] * 3, "limit 8192 met"),
        (["limit 8192: prompt of 9000", "limit 8192: prompt of 9001"], "limit 8192: prompt of …"),
        (["at 0x7f3c2a10", "at 0x55d0aa99"], "at 0x…"),
        (["id 6ba7b810-9dad-11d1-80b4-00c04fd430c8", "id 6ba7b811-9dad-11d1-80b4-00c04fd430c8"], "id …"),
        (["id ad246be2-0320-49b7-bd14-08b0a77dc5eb:", "id 1c3fa7d0-beef-4abc-9d1e-f0b0a77dc5eb:"], "id …:"),
        (["req_01HXK3ZQW9 lost", "req_7QWERTYUIO lost"], "req_… lost"),
        (["a defaced facade"] * 2 + ["b 1", "b 2", "b 3"], "b …"),
    ],
)
def test_values_that_are_the_same_in_all_are_kept(messages: list[str], shown: str) -> None:
    assert commonest(_once(*messages)) == shown


def test_counts_are_added_up() -> None:
    assert commonest([("x 1", 2), ("x 2", 2), ("y", 3)]) == "x …"


@given(st.lists(st.text(max_size=30), min_size=1))
def test_a_message_alone_is_shown_as_it_is(messages: list[str]) -> None:
    assert commonest(_once(messages[0])) == messages[0]
    assert isinstance(commonest(_once(*messages)), str)
