"""The division of a load among workers: the number of workers it needs, and the part of a phase that each sends. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from math import ceil

from trtbench.plan.plan import Phase

MOST_STREAMS = 2_000
"""Concurrent requests of one worker, up to which its cost and its memory were measured (docs/truth.md)."""
COMFORTABLE_CORES = 0.6
"""The CPU, in cores, that a worker should use at most: a busier event loop sends and takes timestamps late."""
SATURATED_CORES = 0.85
"""The CPU, in cores, above which a worker is saturated: how much it would use if more were available is not known."""
_MOST_GROWTH = 2.0


def workers_for_streams(streams: int) -> int:
    """The number of workers that `streams` concurrent requests need, before any CPU use was measured."""
    return max(1, ceil(streams / MOST_STREAMS))


def workers_for_cores(workers: int, cores: float, growth: float, most: int) -> int:
    """The number of workers that the next load needs, by the CPU that the last one used; never fewer than `workers`.

    `cores` is the CPU that the `workers` used together. `growth` is the next load divided by the last one; it counts as 1 to 2, because a
    server does not have to answer in proportion to the requests it gets. `most` is the number of cores of this machine.
    """
    expected_cores = cores * min(max(growth, 1.0), _MOST_GROWTH)
    if cores > SATURATED_CORES * workers:
        expected_cores = max(expected_cores, 2 * cores)
    if expected_cores <= COMFORTABLE_CORES * workers:
        return workers
    return max(workers, min(ceil(expected_cores / COMFORTABLE_CORES), most))


@dataclass(frozen=True)
class Share:
    """The part of a phase that one worker sends: every `workers`-th unit from number `worker` on.

    The same holds for the users of a closed loop and for the bound on requests in flight of an open loop.
    """

    worker: int = 0
    workers: int = 1

    def of(self, phase: Phase) -> Share | None:
        """This worker's share of `phase`, or None if the phase has fewer users, or requests in flight, than there are workers."""
        most = users(phase) if phase.due_offsets_ns is None else phase.stage.max_in_flight
        workers = self.workers if most is None else min(self.workers, most)
        return Share(self.worker, workers) if self.worker < workers else None

    def of_range(self, number: int) -> range:
        return range(self.worker, number, self.workers)

    def places(self, phase: Phase) -> int | None:
        """The number of requests of this share that may be in flight at once; None without a bound."""
        most = None if phase.due_offsets_ns is None else phase.stage.max_in_flight
        return None if most is None else len(self.of_range(most))

    def units(self, phase: Phase) -> Iterator[int]:
        """The numbers of the units of this share; they never end if only time bounds the phase."""
        known = planned_units(phase)
        return count(self.worker, self.workers) if known is None else iter(self.of_range(known))

    def prompts(self, phase: Phase) -> set[int]:
        """The positions of the first prompts of all units that this share may send, and of all prompts that carry tensors.

        A later turn with tokens is serialised when the answers before it are known.
        """
        known = planned_units(phase)
        reach = len(phase.units) * self.workers if known is None else known
        units = [phase.units[unit % len(phase.units)] for unit in self.of_range(reach)]
        return {at for unit in units for at in unit if at == unit.start or phase.prompts[at].tensors}


def users(phase: Phase) -> int:
    """The number of users of a closed loop, which is at most the number of its units."""
    number = int(phase.stage.level) if phase.users_ns is None else len(phase.users_ns)
    known = planned_units(phase)
    return number if known is None else min(number, known)


def planned_units(phase: Phase) -> int | None:
    """The number of units of a phase, or None for a closed loop that only time bounds."""
    if phase.due_offsets_ns is not None:
        return len(phase.due_offsets_ns)
    return None if phase.requests is None else len(phase.units)
