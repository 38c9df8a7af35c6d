"""The whole search against simulated servers with a planted capacity, up to 200 searches each, judged request by request."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from trtbench.experiments.capacity.bracketing import Outcome, Range, Tried, next_step, outcome
from trtbench.experiments.capacity.probe_judge import ProbeJudge
from trtbench.experiments.capacity.spec import Capacity
from trtbench.rundir.latency_limits import FinishedRequest

S = 1_000_000_000
SEARCHES = 200
SEARCH = Capacity.model_validate({"slo": ["e2e:500,p95"], "by": "rate", "start": 2, "probe_requests": 2000, "probes": 14})
BY_USERS = SEARCH.model_copy(update={"by": "concurrency"})

Random = np.random.Generator
Server = Callable[[float, int, Random], list[FinishedRequest]]
"""The requests of a probe: (load, their number, randomness) -> each with its bits."""


def finished(due_s: np.ndarray, done_s: np.ndarray, limit_s: float) -> list[FinishedRequest]:
    broken = done_s - due_s > limit_s
    return list(zip((due_s * S).astype(int).tolist(), (done_s * S).astype(int).tolist(), broken.astype(int).tolist(), strict=True))


def one_server_queue(rate_s: float, limit_s: float) -> tuple[Server, float]:
    """An M/M/1 queue, whose sojourn time is exponential: P(T > t) = exp(-(mu - lambda) t). Its waits are strongly correlated."""

    def server(level: float, count: int, random: Random) -> list[FinishedRequest]:
        due = np.cumsum(random.exponential(1 / level, count))
        takes = random.exponential(1 / rate_s, count)
        served = np.cumsum(takes)  # done[i] = served[i] + max over j <= i of (due[j] - served[j - 1])
        done = served + np.maximum.accumulate(due - (served - takes))
        return finished(due, done, limit_s)

    return server, rate_s - math.log(1 / 0.05) / limit_s


def users_in_turn(capacity: int, noise: float) -> Server:
    """A closed loop whose latency grows with the users; half of its spread is shared by 20 requests in a row."""

    def server(level: float, count: int, random: Random) -> list[FinishedRequest]:
        due = np.sort(random.uniform(0, count / 20, count))
        shared = np.repeat(random.normal(size=count // 20 + 1), 20)[:count]
        spread = math.sqrt(0.5) * shared + math.sqrt(0.5) * random.normal(size=count)
        takes = 0.5 * np.exp(noise * (spread - 1.645)) * (level / (capacity + 0.5)) ** 1.5
        return finished(due, due + takes, 0.5)

    return server


def cliff(capacity: float) -> Server:
    """A server that answers in time up to its capacity, and not at all above."""

    def server(level: float, count: int, random: Random) -> list[FinishedRequest]:
        due = np.cumsum(random.exponential(1 / level, count))
        return finished(due, due + (0.1 if level <= capacity else 60.0), 0.5)

    return server


def search(asked: Capacity, server: Server, seed: int) -> tuple[Outcome, list[Tried]]:
    random, tried, loads = np.random.default_rng(seed), [], Range.of(asked)
    while step := next_step(loads, tried):
        judge = ProbeJudge(asked.slo, int(step.level) if loads.whole else None, asked.resolution, whole=step.phase == "confirm")
        judge.add(server(step.level, asked.probe_requests, random))
        judge.verdict(2**62)
        tried.append(Tried(step.level, judge.conclude(), step.phase))
    assert len(tried) <= asked.probes
    return outcome(loads, tried), tried


def found(asked: Capacity, server: Server, capacity: float, searches: int = SEARCHES) -> float:
    """The share of searches whose loads on both sides have the capacity between them, to the resolution."""
    good = 0
    for seed in range(searches):
        bracket = search(asked, server, seed)[0].bracket
        step = max(asked.resolution, 1 / capacity if asked.by == "concurrency" else 0)
        low, high = bracket.holds or 0, bracket.breaks or math.inf
        good += low <= capacity * (1 + step) and high >= capacity / (1 + step)
    return good / searches


@pytest.mark.parametrize(("rate_s", "searches"), [(20, 40), (50, SEARCHES)])
def test_a_queue_with_strongly_correlated_waits(rate_s: float, searches: int) -> None:
    server, capacity = one_server_queue(rate_s, limit_s=0.5)
    assert found(SEARCH, server, capacity, searches) >= 0.95


@pytest.mark.parametrize(("capacity", "noise", "searches"), [(3, 0.2, 40), (37, 0.2, SEARCHES), (37, 0.5, 40), (200, 0.2, 40)])
def test_a_closed_loop_with_bursts(capacity: int, noise: float, searches: int) -> None:
    assert found(BY_USERS, users_in_turn(capacity, noise), capacity, searches) >= 0.95


def test_a_cliff() -> None:
    assert found(SEARCH, cliff(13.3), 13.3, 20) == 1


def test_a_server_that_never_holds_and_one_that_always_does() -> None:
    low = SEARCH.model_copy(update={"least": 1.0})
    for seed in range(20):
        never, tried = search(low, cliff(0.5), seed)
        assert (never.answer, never.bracket.breaks, len(tried)) == ("never_holds", 1.0, 2)
        always, _ = search(SEARCH.model_copy(update={"most": 64.0}), cliff(1e9), seed)
        assert (always.answer, always.bracket.holds, always.bracket.confirmed) == ("never_breaks", 64.0, True)
