"""Writes the run of a repeated load whose truth is known: each round has one latency, and with one user the rate is its inverse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from tests.support.records import MS, S
from tests.support.runs.written_run import Served, window
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario

REQUESTS = 20
OUTPUT_TOKENS = 4
STAGES = ("c1", "second")


def repeated_scenario(repeats: Any, **more: Any) -> Scenario:
    """Two stages of one user, because with more users a rate is not the inverse of a latency."""
    load = [{"concurrency": 1, "requests": REQUESTS}, {"name": "second", "concurrency": 1, "requests": REQUESTS}]
    tree = {"name": "repeated", "engines": ["int8"], "workload": {"output_tokens": OUTPUT_TOKENS}, "load": load, "repeats": repeats}
    return parse_scenario(tree | more, "repeated").expanded()


def rounds(latencies_ms: Mapping[str, Sequence[int]], deployment: str = "default", dtype: str = "int8") -> list[Served]:
    """A deployment for each round. `latencies_ms`: the latency of every request, by stage, one for each round. A stage with fewer rounds
    than another was interrupted after them.
    """
    most = max(map(len, latencies_ms.values()))
    found = [_round(number, {s: ms[number] for s, ms in latencies_ms.items() if number < len(ms)}, deployment) for number in range(most)]
    return [replace(one, dtype=dtype) for one in found]


def _round(number: int, latencies_ms: Mapping[str, int], deployment: str) -> Served:
    start_ns = at_ns = (10 + 1000 * number) * S
    requests, windows = [], []
    for stage, latency_ms in latencies_ms.items():
        first_ns = at_ns
        for index in range(REQUESTS):
            requests.append(_request(index, stage, at_ns, latency_ms * MS))
            at_ns += latency_ms * MS
        windows.append(window(stage, first_ns, at_ns, REQUESTS))
    return Served(requests, windows, deployment=f"{deployment}-r{number + 1}", span_ns=(start_ns, at_ns + S))


def _request(index: int, stage: str, due_ns: int, latency_ns: int) -> RequestRecord:
    """Its tokens arrive one each fourth of the latency."""
    token_ns = [due_ns + latency_ns * (i + 1) // OUTPUT_TOKENS for i in range(OUTPUT_TOKENS)]
    return RequestRecord(
        *(index, stage, False, index, 10, OUTPUT_TOKENS),
        due_ns=due_ns,
        sent_ns=due_ns,
        done_ns=token_ns[-1],
        token_ns=token_ns,
        token_counts=[1] * OUTPUT_TOKENS,
        output_ids=[1] * OUTPUT_TOKENS,
        outcome=Outcome.COMPLETED,
        attempts=1,
    )
