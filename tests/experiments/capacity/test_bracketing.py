"""The search against servers whose capacity is known: which loads it probes, and what it says."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.experiments.capacity.bracketing import Outcome, Range, Tried, Verdict, most_probes_needed, next_step, outcome

Server = Callable[[float], Verdict]
USERS = Range(start=1.0, least=1.0, most=1024.0, resolution=0.05, whole=True, probes=24)
RATE = Range(start=1, least=1 / 16, most=1000, resolution=0.05, whole=False, probes=24)


def search(asked: Range, server: Server) -> tuple[Outcome, list[Tried]]:
    tried: list[Tried] = []
    while step := next_step(asked, tried):
        tried.append(Tried(step.level, server(step.level), step.phase))
        assert len(tried) <= asked.probes
    return outcome(asked, tried), tried


def exact(capacity: float) -> Server:
    return lambda level: "holds" if level <= capacity else "breaks"


@given(capacity=st.floats(0.0, 2000.0), whole=st.booleans(), start=st.integers(1, 64))
def test_an_exact_server_is_found_to_the_resolution(capacity: float, whole: bool, start: int) -> None:
    asked = Range(start, 1 if whole else start / 16, 1024, 0.05, whole, 24)
    found, tried = search(asked, exact(capacity))
    bracket = found.bracket
    assert all(asked.least <= one.level <= asked.most for one in tried)
    assert len({one.level for one in tried if one.phase != "confirm"}) == sum(one.phase != "confirm" for one in tried), "no load twice"
    assert found.resolved and not bracket.refuted and not bracket.undecided
    if capacity < asked.least:
        assert (found.answer, bracket.holds, bracket.breaks) == ("never_holds", None, asked.least)
        return
    assert bracket.holds is not None and bracket.holds <= capacity and bracket.confirmed is True
    assert tried[-1] == Tried(bracket.holds, "holds", "confirm")
    if capacity >= asked.most:
        assert (found.answer, bracket.breaks) == ("never_breaks", None)
        return
    assert found.answer == "between" and bracket.breaks is not None and bracket.breaks > capacity
    closest = bracket.holds + 1 if whole else bracket.holds * 1.06  # a rate has three digits
    assert bracket.breaks <= max(closest, bracket.holds * (1 + asked.resolution))


@given(capacity=st.floats(1.0, 1024.0), whole=st.booleans())
def test_it_needs_no_more_probes_than_doubling_and_halving(capacity: float, whole: bool) -> None:
    asked = USERS if whole else RATE
    _, tried = search(asked, exact(capacity))
    assert len(tried) <= most_probes_needed(asked)


@given(st.lists(st.sampled_from(("holds", "breaks", "undecided", "unusable")), min_size=24, max_size=24), st.booleans(), st.integers(3, 24))
def test_whatever_the_verdicts_the_search_ends_and_contradicts_none(verdicts: list[Verdict], whole: bool, probes: int) -> None:
    base = USERS if whole else RATE
    asked = Range(base.start, base.least, base.most, base.resolution, whole, probes)
    answers = iter(verdicts)
    found, tried = search(asked, lambda _: next(answers))
    bracket = found.bracket
    assert len(tried) <= probes
    for one in tried:
        assert asked.least <= one.level <= asked.most
        assert not whole or float(one.level).is_integer()
    if bracket.holds is not None:
        assert Tried(bracket.holds, "breaks", "confirm") not in tried
        assert bracket.breaks is None or bracket.holds < bracket.breaks
        assert all(one.level >= (bracket.breaks or math.inf) for one in tried if one.verdict == "breaks")
    assert all((bracket.holds or 0) < level < (bracket.breaks or math.inf) for level in bracket.undecided)


def test_the_last_probe_is_kept_for_the_repeat() -> None:
    asked = Range(1, 1, 1024, 0.05, True, 12)
    found, tried = search(asked, exact(733))
    assert len(tried) == 12 and tried[-1].phase == "confirm"
    assert found.bracket.confirmed is True and found.resolved is False
    assert (found.bracket.holds, found.bracket.breaks) == (512, 1024)


def test_a_repeat_that_breaks_moves_the_capacity_below() -> None:
    def server(level: float) -> Verdict:
        if level == 12 and asked_12.append(level) is None and len(asked_12) > 1:
            return "breaks"
        return "holds" if level <= 12 else "breaks"

    asked_12: list[float] = []
    found, tried = search(USERS, server)
    assert Tried(12, "breaks", "confirm") in tried
    assert (found.bracket.holds, found.bracket.breaks, found.bracket.confirmed) == (11, 12, True)
    assert found.bracket.refuted == (12,)


def test_an_undecided_load_is_on_neither_side() -> None:
    found, _ = search(USERS, lambda level: "holds" if level < 20 else "undecided" if level <= 23 else "breaks")
    assert (found.answer, found.bracket.holds, found.bracket.breaks) == ("between", 19, 24)
    assert found.bracket.undecided and all(20 <= level <= 23 for level in found.bracket.undecided)


def test_loads_without_enough_requests_are_passed_on_the_way_up() -> None:
    found, tried = search(USERS, lambda level: "undecided" if level < 8 else exact(50)(level))
    assert [one.level for one in tried[:4]] == [1, 2, 4, 8]
    assert found.answer == "between" and found.bracket.holds in (49, 50)


def test_a_load_that_the_client_cannot_send_is_not_the_servers_limit() -> None:
    found, _ = search(USERS, lambda level: "holds" if level <= 100 else "unusable")
    assert found.answer == "client_bound" and found.bracket.holds and 96 <= found.bracket.holds <= 100
    found, _ = search(USERS, lambda level: "unusable" if level > 100 else exact(30)(level))
    assert found.answer == "between" and found.bracket.holds in (29, 30)


@pytest.mark.parametrize(
    ("server", "answer"),
    [
        (lambda _: "breaks", "never_holds"),
        (lambda _: "holds", "never_breaks"),
        (lambda _: "undecided", "not_shown"),
        (lambda _: "unusable", "not_shown"),
    ],
)
def test_a_server_without_an_edge(server: Server, answer: str) -> None:
    for asked in (USERS, RATE):
        assert search(asked, server)[0].answer == answer


def test_a_dip_is_not_taken_for_more_than_what_was_tried() -> None:
    """A server that breaks between 20 and 40 and holds again up to 100: the answer is true of the loads that were probed."""
    found, tried = search(USERS, lambda level: "breaks" if 20 <= level <= 40 or level > 100 else "holds")
    assert found.answer == "between" and found.bracket.holds is not None
    assert found.bracket.holds < 20 or found.bracket.holds == 100
    assert Tried(found.bracket.holds, "holds", "confirm") in tried


def test_before_the_first_probe_nothing_is_said() -> None:
    assert outcome(USERS, []).resolved is False
