"""How many workers a load needs: by what the ones there are have been seen to use. Pure arithmetic."""

from __future__ import annotations

from math import ceil

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
