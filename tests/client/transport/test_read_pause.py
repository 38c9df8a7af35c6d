"""The pause that gaps allow: by their arithmetic, and by what was read together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.client.transport import read_pause
from trtbench.client.transport.read_pause import LONGEST_AT_ENDS_NS, LONGEST_NS, SHORTEST_NS, EndLags, ReadPause

MS = 1_000_000
STREAMS = 1000  # so many that every pause gathers enough


def paced(gap_ns: int, reviews: int, crowded_each: int = 0, ends_at_once: bool = True, short_ns: int | None = None) -> ReadPause:
    """A pause after reviews with 1000 reads each, of answers whose gaps are `gap_ns`; of one in 100 of them also `short_ns`."""
    pause = ReadPause()
    for _ in range(64):
        pause.add_end(not ends_at_once)
    for _ in range(reviews):
        for answer in range(100):
            arrivals = [number * gap_ns for number in range(20)]
            pause.add_arrivals([*arrivals, arrivals[-1] + short_ns] if short_ns is not None and not answer else arrivals)
        pause.add_reads(1000, crowded_each)
        pause.review(STREAMS)
    return pause


def test_it_is_a_share_of_the_low_gaps_and_at_most_the_longest() -> None:
    assert [paced(gap_ms * MS, 1).pause_ns for gap_ms in (5, 10, 20, 50)] == [2 * MS, 4 * MS, 8 * MS, LONGEST_NS]


@pytest.mark.parametrize(("streams", "pause_ns"), [(4, 0), (5, 8 * MS), (16, 8 * MS)])
def test_there_is_none_that_would_gather_fewer_tokens_than_it_wakes_the_process_for(streams: int, pause_ns: int) -> None:
    """Four streams have a token every 5 ms: 8 ms gather 1.6."""
    pause = paced(20 * MS, 1)
    pause.review(streams)
    assert pause.pause_ns == pause_ns


def test_there_is_none_before_gaps_were_seen_or_when_they_are_short() -> None:
    pause = ReadPause()
    pause.add_reads(10_000, 0)
    pause.review(STREAMS)
    assert pause.pause_ns == 0
    assert paced(SHORTEST_NS // 2, 10).pause_ns == 0


@given(st.integers(SHORTEST_NS // 4, 3 * LONGEST_NS))
def test_it_is_never_longer_than_even_gaps(gap_ns: int) -> None:
    """A few are allowed to be read together by the prediction, so that the pause may be longer by that share."""
    assert paced(gap_ns, 6).pause_ns <= gap_ns * 1.001


def test_a_single_short_gap_in_a_thousand_forbids_a_pause_that_would_meet_it() -> None:
    """One gap in 800 is of 1 ms: a pause of 4 ms would read 0.09 % of all tokens together, one of 1.1 ms nearly none."""
    pause_ns = paced(20 * MS, 10, short_ns=MS).pause_ns
    assert SHORTEST_NS < pause_ns < 1.5 * MS


@given(st.lists(st.integers(0, 8 * MS), min_size=1, max_size=50), st.integers(SHORTEST_NS, LONGEST_NS))
def test_the_prediction_is_what_a_periodic_reader_meets(gaps_ns: list[int], pause_ns: int) -> None:
    """Against a count over even phases of the reader."""
    phases = (np.arange(400) + 0.5) / 400 * pause_ns
    counted = sum(float(((phases + gap_ns) // pause_ns == 0).mean()) for gap_ns in gaps_ns)
    assert read_pause._crowded(np.array(gaps_ns, float), pause_ns) == pytest.approx(counted, abs=len(gaps_ns) / 400)


def test_reads_together_halve_it_by_their_share_and_not_each() -> None:
    longest = paced(20 * MS, 8)
    longest.add_reads(10_000, 4)  # 0.04 %
    longest.review(STREAMS)
    assert longest.pause_ns == LONGEST_NS
    longest.add_reads(10_000, 6)
    longest.review(STREAMS)
    assert longest.pause_ns == LONGEST_NS // 2
    longest.add_reads(1000, 1)  # a single one proves no share
    longest.review(STREAMS)
    assert longest.pause_ns == LONGEST_NS


def test_it_grows_again_only_when_the_share_of_all_reads_is_small() -> None:
    pause = paced(20 * MS, 8)
    pause.add_reads(1000, 20)
    pause.review(STREAMS)
    for reads in (9_000, 9_000):  # 27,000 reads with those before: 20 are 0.07 %
        pause.add_reads(reads, 0)
        pause.review(STREAMS)
        assert pause.pause_ns == LONGEST_NS // 2
    pause.add_reads(14_000, 0)
    pause.review(STREAMS)
    assert pause.pause_ns == LONGEST_NS


def test_it_stops_where_even_the_shortest_reads_together_and_tries_again_later() -> None:
    pause = paced(20 * MS, 1, crowded_each=50)
    pauses = [pause.pause_ns]
    while pause.pause_ns:
        pause.add_reads(1000, 50)
        pause.review(STREAMS)
        pauses.append(pause.pause_ns)
    assert pauses == [LONGEST_NS // 2, LONGEST_NS // 4, LONGEST_NS // 8, LONGEST_NS // 16, 0]
    for _ in range(read_pause._REVIEWS_OFF):
        assert pause.pause_ns == 0
        pause.review(STREAMS)
    assert pause.pause_ns == SHORTEST_NS


def test_it_stays_below_a_millisecond_while_ends_are_not_read_at_once() -> None:
    """An answer that may end with any token is read to its end by the pacer."""
    assert paced(20 * MS, 8, ends_at_once=False).pause_ns == LONGEST_AT_ENDS_NS < MS
    unknown = ReadPause()
    for _ in range(8):
        unknown.add_arrivals([number * 20 * MS for number in range(200)])
        unknown.add_arrivals([number * 20 * MS for number in range(200)])
        for _ in range(64):
            unknown.add_arrivals([0, 20 * MS, 40 * MS])
        unknown.add_reads(1000, 0)
        unknown.review(STREAMS)
    assert unknown.pause_ns == LONGEST_AT_ENDS_NS, "nothing is known of ends"


@given(st.lists(st.one_of(st.none(), st.integers(0, 4 * MS)), max_size=400))
def test_lags_of_ends(lags_ns: list[int | None]) -> None:
    """The nearest rank over all answers, rounded up to its step."""
    lags = EndLags()
    for lag_ns in lags_ns:
        lags.add(lag_ns)
    known = sorted(lag_ns or 0 for lag_ns in lags_ns)
    exact = known[len(known) - 1 - len(known) // 100] if known else 0
    assert exact <= lags.p99_ns < exact + 50_000
    assert (lags.answers, lags.paced) == (len(lags_ns), sum(lag_ns is not None for lag_ns in lags_ns))
