"""The judge of a probe: the order of requests, blocks, decisions, and queues that only grow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.experiments.capacity.probe_judge import ProbeJudge
from trtbench.experiments.capacity.sequential_test import ClauseTest, Zone, kept_interval
from trtbench.experiments.capacity.spec import Clause
from trtbench.rundir.latency_limits import INCOMPLETE, FinishedRequest

S = 1_000_000_000
TTFT = Clause(latency="ttft", limit_ms=500, percentile=90)
TPOT = Clause(latency="tpot", limit_ms=50, percentile=99)


def requests(broken: list[int], per_s: int = 10, lasts_s: float = 0.2) -> list[FinishedRequest]:
    """One request every 1 / `per_s` seconds with these bits."""
    return [(i * S // per_s, i * S // per_s + int(lasts_s * S), bits) for i, bits in enumerate(broken)]


def test_a_probe_that_keeps_its_limit_holds_as_soon_as_it_is_certain() -> None:
    judge = ProbeJudge([TTFT], users=4, resolution=0.05)
    for second in range(1, 60):
        judge.add(request for request in requests([0] * 600) if (second - 1) * S <= request[0] < second * S)
        if judge.verdict(second * S):
            break
    needed = Zone.around(TTFT.allowed_ratio).least_requests(1)
    assert judge.conclude() == "holds" and needed <= judge.requests <= 5 * 11
    assert second <= 6, "it waits for whole blocks, the first of which is left out"


def test_a_probe_that_breaks_says_which_clause() -> None:
    judge = ProbeJudge([TTFT, TPOT], users=4, resolution=0.05)
    judge.add(requests([0b10 if i % 4 == 0 else 0 for i in range(200)]))
    assert judge.verdict(100 * S) == "breaks"
    assert judge.broken_by == ("tpot:50,p99",)
    ttft, tpot = judge.clauses()
    assert (tpot.verdict, ttft.broken) == ("breaks", 0) and tpot.broken > 0


def test_a_request_that_did_not_complete_breaks_every_clause() -> None:
    judge = ProbeJudge([TTFT, TPOT], users=4, resolution=0.05)
    judge.add(requests([INCOMPLETE] * 100))
    assert judge.verdict(100 * S) == "breaks"
    assert [clause.broken for clause in judge.clauses()] == [judge.requests] * 2
    assert judge.jointly_broken == judge.requests


def test_slow_requests_that_are_still_in_flight_are_waited_for() -> None:
    """The fast half ends first. Only what was due before the oldest in flight counts."""
    every = requests([1 if i % 2 else 0 for i in range(200)])
    judge = ProbeJudge([TTFT], users=4, resolution=0.05)
    judge.add(request for request in every if request[2] == 0)
    assert judge.verdict(every[1][0]) is None and judge.requests == 0
    judge.add(request for request in every if request[2])
    assert judge.verdict(100 * S) == "breaks"


def test_too_few_requests_leave_it_undecided() -> None:
    judge = ProbeJudge([TPOT], users=4, resolution=0.05)
    judge.add(requests([0] * 150))
    assert judge.verdict(100 * S) is None
    assert judge.conclude() == "undecided"
    assert ProbeJudge([TPOT], users=4, resolution=0.05).conclude() == "undecided"


@pytest.mark.parametrize(("bits", "verdict"), [(0, "holds"), (1, "breaks")])
def test_a_server_that_answers_all_within_a_second_is_judged_at_the_end(bits: int, verdict: str) -> None:
    judge = ProbeJudge([TTFT], users=4, resolution=0.05)
    judge.add(requests([bits] * 400, per_s=1000))
    assert judge.verdict(100 * S) is None
    assert judge.conclude() == verdict and judge.requests == 350
    few = ProbeJudge([TTFT], users=100, resolution=0.05)
    few.add(requests([bits] * 400, per_s=1000))
    assert few.conclude() == "undecided"


def test_the_first_block_is_left_out() -> None:
    judge = ProbeJudge([TTFT], users=20, resolution=0.05)
    judge.add(requests([1] * 20 + [0] * 400))
    assert judge.verdict(100 * S) == "holds"
    assert judge.clauses()[0].broken == 0


def test_the_repeat_uses_all_requests() -> None:
    """The beginning alone would hold, all of it breaks."""
    broken = [0] * 100 + [0, 1] * 300
    early, whole = ProbeJudge([TTFT], users=4, resolution=0.05), ProbeJudge([TTFT], users=4, resolution=0.05, whole=True)
    for judge in (early, whole):
        judge.add(requests(broken))
    assert early.verdict(100 * S) == "holds" and whole.verdict(100 * S) is None
    assert whole.conclude() == "breaks" and whole.requests > 300


def test_a_queue_that_only_grows_breaks_an_open_loop_that_keeps_its_limits() -> None:
    served = [(i * S // 20, i * S // 10 + S, 0) for i in range(600)]  # 20 arrivals a second, 10 are served
    open_loop, closed = ProbeJudge([TPOT], users=None, resolution=0.05), ProbeJudge([TPOT], users=4, resolution=0.05)
    for judge in (open_loop, closed):
        judge.add(served)
        judge.verdict(1000 * S)
    assert open_loop.conclude() == "breaks" and open_loop.broken_by == ("backlog",)
    assert closed.conclude() == "holds" and closed.broken_by == ()


@pytest.mark.parametrize("load", [0.5, 0.8, 0.9])
def test_a_stable_queue_is_not_taken_for_one_that_grows(load: float) -> None:
    random = np.random.default_rng(7)
    taken = 0
    for _ in range(40):
        due = np.cumsum(random.exponential(1 / load, 600))
        service, free, done = random.exponential(1.0, 600), 0.0, []
        for at, takes in zip(due, service, strict=True):
            free = max(free, at) + takes
            done.append(free)
        judge = ProbeJudge([TPOT], users=None, resolution=0.05)
        judge.add((int(a * S), int(b * S), 0) for a, b in zip(due, done, strict=True))
        judge.verdict(int(due[-1] * S))
        taken += judge.backlog_grows
    assert taken <= 2


@given(allowed=st.floats(0.0001, 0.5), requests=st.integers(1, 10_000), broken=st.integers(0, 10_000))
def test_the_zone_contains_the_allowed_share_and_evidence_points_away_from_it(allowed: float, requests: int, broken: int) -> None:
    zone = Zone.around(allowed)
    assert 0 < zone.good_ratio < allowed < zone.bad_ratio < 1
    broken = min(broken, requests)
    if broken / requests <= zone.good_ratio:
        assert zone.log_ratio(requests, broken) < 0
    if broken / requests >= zone.bad_ratio:
        assert zone.log_ratio(requests, broken) > 0


def test_requests_that_break_together_count_for_less() -> None:
    apart, together = ClauseTest(0.1), ClauseTest(0.1)
    for block in range(20):
        apart.add_block(20, 5)
        together.add_block(20, 20 if block % 4 == 0 else 0)
    assert apart.requests == together.requests and apart.broken == together.broken
    assert apart.dispersion == 1 and together.dispersion == pytest.approx(20 * 20 / 19)
    spread = [high - low for low, high in (kept_interval(t.requests, t.broken, t.dispersion) for t in (apart, together))]
    assert spread[1] > 4 * spread[0]


@given(requests=st.integers(0, 5000), share=st.floats(0, 1), dispersion=st.floats(1, 50))
def test_the_interval_contains_the_share(requests: int, share: float, dispersion: float) -> None:
    broken = round(requests * share)
    low, high = kept_interval(requests, broken, dispersion)
    assert 0 <= low <= high <= 1
    assert not requests or low - 1e-9 <= 1 - broken / requests <= high + 1e-9
