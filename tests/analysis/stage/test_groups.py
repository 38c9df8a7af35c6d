from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.columns import columns
from tests.support.synthetic_run import request_of
from trtbench.analysis.stage.groups import by_mix, by_turn
from trtbench.rundir.records import Outcome


def test_components_apart() -> None:
    chat = [request_of(0, [10, 30], mix="chat", input_tokens=5), request_of(0, [], Outcome.REJECTED, mix="chat")]
    groups = by_mix(columns([*chat, request_of(0, [100], mix="a")]))
    assert list(groups) == ["a", "chat"]
    assert (groups["chat"].requests, groups["chat"].completed, groups["chat"].ttft_ns.mean, groups["chat"].tpot_ns.mean) == (2, 1, 10, 20)
    assert (groups["chat"].input_tokens.mean, groups["chat"].output_tokens.mean, groups["a"].e2e_latency_ns.mean) == (5, 2, 100)


def test_one_kind_of_request_is_no_mix() -> None:
    assert by_mix(columns([request_of(0, [1])] * 3)) == {} and by_mix(columns([])) == {}


def test_first_turns_beside_later_ones() -> None:
    groups = by_turn(columns([request_of(0, [turn * 10 + 5], session=7, turn=turn) for turn in range(4)] + [request_of(0, [999])]))
    assert groups["first"].ttft_ns.mean == 5
    assert (groups["later"].requests, groups["later"].ttft_ns.mean) == (3, 25)


def test_sessions_of_one_turn_have_nothing_to_compare() -> None:
    assert by_turn(columns([request_of(0, [1], session=session) for session in range(3)])) == {}


@given(st.lists(st.sampled_from(["a", "b", "c"]), max_size=30))
def test_every_request_is_in_one_group(mixes: list[str]) -> None:
    groups = by_mix(columns([request_of(0, [1], mix=mix) for mix in mixes]))
    assert sum(group.requests for group in groups.values()) == (len(mixes) if len(set(mixes)) > 1 else 0)
