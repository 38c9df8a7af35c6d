"""Little's law on planted records: it holds for stable systems, and what breaks it is named."""

from __future__ import annotations

import random

import pytest

from tests.support.records import MS, S, columns, request_of
from trtbench.analysis.stage.littles_law import LittlesLaw, littles_law
from trtbench.rundir.records import Outcome, RequestRecord

USERS, THINK_MS = 8, 250


def closed_loop(seed: int, failing: float = 0.0, idle_ms: int = 0, think_ms: int = 0, length_s: int = 60) -> list[RequestRecord]:
    """Eight users with exponential latencies of 200 ms, who all send until the end. `idle_ms`: between an answer and the next due time of
    its user, beyond thinking.
    """
    draw = random.Random(seed)
    found = []
    for _ in range(USERS):
        now = 0
        while now < length_s * S:
            fails = draw.random() < failing
            end = now + round(draw.expovariate(1 / 200) * MS * (5 if fails else 1)) + 1
            found.append(request_of(now, [] if fails else [end], Outcome.REJECTED if fails else Outcome.COMPLETED, done_ns=end))
            now = end + round(draw.uniform(0.5, 1.5) * think_ms * MS) + idle_ms * MS
    return found


def law_of(records: list[RequestRecord], users: float | None = USERS, think_ms: float = 0, grew: bool | None = None) -> LittlesLaw:
    law = littles_law(columns(records), users, think_ms * MS, grew)
    assert law is not None
    return law


@pytest.mark.parametrize("seed", range(12))
def test_a_closed_loop_holds_it(seed: int) -> None:
    law = law_of(closed_loop(seed))
    assert law.holds and law.product == pytest.approx(USERS, rel=0.12)
    assert law.product == pytest.approx(law.rate_per_s * law.latency_ns / S)


@pytest.mark.parametrize("seed", range(6))
def test_thinking_is_part_of_a_users_time(seed: int) -> None:
    records = closed_loop(seed, think_ms=THINK_MS)
    assert law_of(records, think_ms=THINK_MS).holds
    assert law_of(records).why == "idle", "without it users seem to be elsewhere"


@pytest.mark.parametrize("seed", range(6))
def test_failed_requests_break_it(seed: int) -> None:
    law = law_of(closed_loop(seed, failing=0.3))
    assert law.why == "failures" and law.difference > law.half_width > 0


@pytest.mark.parametrize("seed", range(6))
def test_users_that_wait_for_the_client_break_it(seed: int) -> None:
    assert law_of(closed_loop(seed, idle_ms=100)).why == "idle"


def open_loop(seed: int, growth_ms: float = 0.0) -> list[RequestRecord]:
    """Poisson arrivals, ten a second; latencies grow by `growth_ms` from one to the next."""
    draw, now, found = random.Random(seed), 0, []
    for number in range(600):
        now += round(draw.expovariate(10) * S)
        found.append(request_of(now, [now + round((100 + growth_ms * number) * MS)]))
    return found


@pytest.mark.parametrize("seed", range(8))
def test_an_open_loop_holds_it_from_its_own_records(seed: int) -> None:
    law = law_of(open_loop(seed), users=None)
    assert law.holds and law.in_system == pytest.approx(1.0, rel=0.2)


@pytest.mark.parametrize("seed", range(4))
def test_a_queue_that_grows_breaks_it(seed: int) -> None:
    law = law_of(open_loop(seed, growth_ms=40), users=None, grew=True)
    assert law.why == "growth" and law.difference > 0


def test_few_requests_say_nothing() -> None:
    assert littles_law(columns(closed_loop(1, length_s=1)), USERS, 0, None) is None
    assert littles_law(columns([]), USERS, 0, None) is None
