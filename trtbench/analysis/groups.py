"""Latency of the parts of a mixed workload, and of the turns of its sessions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from trtbench.analysis.latency import tpot_ns, ttft_ns
from trtbench.analysis.percentile import Distribution
from trtbench.records import Outcome, RequestRecord


@dataclass(frozen=True, slots=True)
class Group:
    """Some requests of one stage. `requests` counts all, the rest is of the completed."""

    requests: int
    completed: int
    input_tokens: Distribution
    output_tokens: Distribution
    ttft_ns: Distribution
    tpot_ns: Distribution
    e2e_latency_ns: Distribution


def by_mix(requests: Sequence[RequestRecord]) -> dict[str, Group]:
    """By component of a mixed workload; empty where there are not two of them."""
    return _groups(requests, lambda request: request.mix)


def by_turn(requests: Sequence[RequestRecord]) -> dict[str, Group]:
    """`first` and `later` turns of sessions: a later one's prompt holds all that was said before. Empty without later turns."""
    of_sessions = [request for request in requests if request.session is not None]
    return _groups(of_sessions, lambda request: "later" if request.turn else "first")


def _groups(requests: Sequence[RequestRecord], name_of: Callable[[RequestRecord], str]) -> dict[str, Group]:
    """In the order of the names; empty for fewer than two of them."""
    members: dict[str, list[RequestRecord]] = {}
    for request in requests:
        members.setdefault(name_of(request), []).append(request)
    return {name: _group(members[name]) for name in sorted(members)} if len(members) > 1 else {}


def _group(requests: Sequence[RequestRecord]) -> Group:
    done = [request for request in requests if request.outcome is Outcome.COMPLETED]
    return Group(
        requests=len(requests),
        completed=len(done),
        input_tokens=Distribution.of(request.input_tokens for request in done),
        output_tokens=Distribution.of(request.output_tokens for request in done if request.counts_tokens),
        ttft_ns=Distribution.of(ttft for request in done if (ttft := ttft_ns(request)) is not None),
        tpot_ns=Distribution.of(tpot for request in done if (tpot := tpot_ns(request)) is not None),
        e2e_latency_ns=Distribution.of(request.done_ns - request.due_ns for request in done if request.done_ns is not None),
    )
