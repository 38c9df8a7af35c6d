"""Latency of the parts of a mixed workload, and of the turns of its sessions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from trtbench.analysis.stage.latency import e2e_latency_ns, tpot_ns, ttft_ns
from trtbench.analysis.stats.percentile import Distribution
from trtbench.rundir import MISSING, Mask, Requests


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


def by_mix(requests: Requests) -> dict[str, Group]:
    """By component of a mixed workload; empty where there are not two of them."""
    mix = requests.texts("mix")
    return _groups(requests, {name: mix.equal(name) for name in mix.values})


def by_turn(requests: Requests) -> dict[str, Group]:
    """`first` and `later` turns of sessions: a later one's prompt holds all that was said before. Empty without later turns."""
    of_sessions = requests.select(requests.session != MISSING)
    return _groups(of_sessions, {"first": of_sessions.turn == 0, "later": of_sessions.turn != 0})


def _groups(requests: Requests, masks: Mapping[str, Mask]) -> dict[str, Group]:
    """In the order of the names, of those that have members; empty for fewer than two of them."""
    filled = {name: mask for name, mask in sorted(masks.items()) if mask.any()}
    return {name: _group(requests.select(mask)) for name, mask in filled.items()} if len(filled) > 1 else {}


def _group(requests: Requests) -> Group:
    done = requests.completed
    return Group(
        requests=len(requests),
        completed=len(done),
        input_tokens=Distribution.of(done.input_tokens),
        output_tokens=Distribution.of(done.output_tokens[done.counts_tokens]),
        ttft_ns=Distribution.of(ttft_ns(done)),
        tpot_ns=Distribution.of(tpot_ns(done)),
        e2e_latency_ns=Distribution.of(e2e_latency_ns(done)),
    )
