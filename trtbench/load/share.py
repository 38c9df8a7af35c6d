"""How a load is shared among workers: how many of them it needs, and which part of a phase each one carries out. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from math import ceil

from trtbench.plan.plan import Phase

MOST_STREAMS = 2_000
"""Requests at once of one worker: as far as its cost and its memory were tried (docs/truth.md)."""
COMFORTABLE_CORES = 0.6
"""Of one core; a busier event loop stamps and sends late in its bursts."""
SATURATED_CORES = 0.85
"""Of one core: what it would have used, had there been more, is not known."""
_MOST_GROWTH = 2.0


def workers_for_streams(streams: int) -> int:
    """By the number of requests at once alone, before anything was measured."""
    return max(1, ceil(streams / MOST_STREAMS))


def workers_for_cores(workers: int, cores: float, growth: float, most: int) -> int:
    """`cores`: what `workers` together used under the last load. `growth`: the coming load / the last one; counted as 1 to 2, as a server
    need not answer twice as fast for being asked twice as often. `most`: cores of this machine. Never fewer than there are.
    """
    expected_cores = cores * min(max(growth, 1.0), _MOST_GROWTH)
    if cores > SATURATED_CORES * workers:
        expected_cores = max(expected_cores, 2 * cores)
    if expected_cores <= COMFORTABLE_CORES * workers:
        return workers
    return max(workers, min(ceil(expected_cores / COMFORTABLE_CORES), most))


@dataclass(frozen=True)
class Share:
    """Every `workers`-th unit, and every `workers`-th user or place of a bounded open loop, from number `worker` on."""

    worker: int = 0
    workers: int = 1

    def of(self, phase: Phase) -> Share | None:
        """This worker's share of `phase`; None where there are fewer users, or places, than workers and none is left for it."""
        most = users(phase) if phase.due_offsets_ns is None else phase.stage.max_in_flight
        workers = self.workers if most is None else min(self.workers, most)
        return Share(self.worker, workers) if self.worker < workers else None

    def of_range(self, number: int) -> range:
        return range(self.worker, number, self.workers)

    def places(self, phase: Phase) -> int | None:
        """Requests of this share that may be in flight at once; None without a bound."""
        most = None if phase.due_offsets_ns is None else phase.stage.max_in_flight
        return None if most is None else len(self.of_range(most))

    def units(self, phase: Phase) -> Iterator[int]:
        """Numbers of this share's units, without end where only time bounds the phase."""
        known = planned_units(phase)
        return count(self.worker, self.workers) if known is None else iter(self.of_range(known))

    def prompts(self, phase: Phase) -> set[int]:
        """Positions of the first prompts of all units that this share can come to."""
        known = planned_units(phase)
        reach = len(phase.units) * self.workers if known is None else known
        return {phase.units[unit % len(phase.units)].start for unit in self.of_range(reach)}


def users(phase: Phase) -> int:
    """Of a closed loop: its users, no more than it has units for."""
    number = int(phase.stage.level) if phase.users_ns is None else len(phase.users_ns)
    known = planned_units(phase)
    return number if known is None else min(number, known)


def planned_units(phase: Phase) -> int | None:
    """None for a closed loop that ends by time alone."""
    if phase.due_offsets_ns is not None:
        return len(phase.due_offsets_ns)
    return None if phase.requests is None else len(phase.units)
