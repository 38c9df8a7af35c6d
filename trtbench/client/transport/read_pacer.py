"""ReadPacer: reads all connections that are in the middle of an answer together, at most once a pause.

Waking for each token is most of what a token costs a client. First tokens and last ones are read at once, so that neither TTFT nor the
request that follows an answer waits for a pause.
"""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from trtbench.client.transport.read_pause import EndLags, ReadPause
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.system.absolute_timer import AbsoluteTimer
from trtbench.system.clock import now_ns

_REVIEW_S = 0.25
_MOST_SAMPLED = 64  # answers whose gaps are looked at in a review
_FEWEST = 8  # answers in their middle, below which each is read at once
_MOST_CROWDED, _MOST_CROWDED_RATIO = 4, 0.01  # since a review; beyond both the load has changed, and nothing is paced until the next one
_NS_PER_MS = 1_000_000


class ReadPacer:
    """Paces the connections of one event loop. While there is a pause, it reads them in place of the event loop from `enter` to `leave`."""

    def __init__(self, pause_ns: int | None = None) -> None:
        """`pause_ns` None: the pause adapts (ReadPause). It needs a running event loop; OSError if the kernel has no timerfd."""
        self._loop = asyncio.get_running_loop()
        self._epoll, self._timer = select.epoll(), AbsoluteTimer()
        self._adapted = ReadPause() if pause_ns is None else None
        self._pause_ns = pause_ns or 0
        self._read_of: dict[int, Callable[[], None]] = {}
        self._arrivals_of: dict[int, Sequence[int]] = {}
        self._holds = False  # whether it reads its connections, and not the event loop
        self._stopped = False  # until the next review
        self._waits = False  # for the first one to become readable; else the timer is set
        self._due_ns = 0
        self._on_time = True
        self._passes = self._reads = self._crowded = self._longest_ns = 0
        self._new_reads = self._new_crowded = 0  # since the last review
        self._end_lags = EndLags()
        self._loop.add_reader(self._timer.fileno(), self._on_timer)
        self._reviews = self._loop.call_later(_REVIEW_S, self._review)
        self._wait()

    def enter(self, descriptor: int, read: Callable[[], None], arrivals_ns: Sequence[int]) -> None:
        """A connection, which the event loop reads by `read`, is in the middle of an answer from now on; `arrivals_ns` grows with it."""
        self._read_of[descriptor], self._arrivals_of[descriptor] = read, arrivals_ns
        if self._holds:
            self._hold(descriptor)
        else:
            self._decide()

    def leave(self, descriptor: int, end_lag_ns: int | None = None, lost: bool = False) -> None:
        """The connection is not in the middle of an answer any more. The event loop reads it again, unless it is `lost`.

        `end_lag_ns`: the answer has ended in what was taken for its middle, and this was read so long after it had arrived."""
        read, held = self._read_of.pop(descriptor), self._holds
        del self._arrivals_of[descriptor]
        if held:
            self._epoll.unregister(descriptor)
            if not lost:
                self._loop.add_reader(descriptor, read)
            self._decide()
        if not lost:
            paced_ns = end_lag_ns if held else None
            self._end_lags.add(paced_ns)
            if self._adapted:
                self._adapted.add_end(paced_ns is not None)

    def count_crowded(self) -> None:
        """What a connection in the middle of an answer has just read held several messages."""
        if self._holds:
            self._crowded += 1
            self._new_crowded += self._on_time
            if self._adapted and self._new_crowded > max(_MOST_CROWDED, _MOST_CROWDED_RATIO * self._new_reads):
                self._stopped = True
                self._decide()

    def close(self) -> None:
        """Stop pacing; all connections have been lost before. A second call does nothing."""
        if self._epoll.closed:
            return
        self._reviews.cancel()
        self._loop.remove_reader(self._timer.fileno())
        self._loop.remove_reader(self._epoll.fileno())
        self._timer.close()
        self._epoll.close()

    def facts(self) -> dict[str, Any]:
        return {
            "read_pause_longest_ns": self._longest_ns,
            "paced_passes": self._passes,
            "paced_reads": self._reads,
            "paced_reads_crowded": self._crowded,
            "paced_ends": self._end_lags.paced,
            "paced_end_lag_p99_ns": self._end_lags.p99_ns,
        }

    def _review(self) -> None:
        """Adapt the pause, and decide who reads until the next review."""
        self._reviews = self._loop.call_later(_REVIEW_S, self._review)
        if self._adapted:
            for arrivals_ns in islice(self._arrivals_of.values(), _MOST_SAMPLED):
                self._adapted.add_arrivals(arrivals_ns)
            self._adapted.add_reads(self._new_reads, self._new_crowded)
            self._adapted.review(len(self._read_of))
            self._pause_ns = self._adapted.pause_ns
        self._new_reads = self._new_crowded = 0
        self._stopped = False
        self._decide()

    def _decide(self) -> None:
        """Read all connections here while there is a pause and there are enough of them, else let the event loop read them."""
        fewest = _FEWEST // 2 if self._holds else _FEWEST
        holds = self._pause_ns > 0 and not self._stopped and len(self._read_of) >= fewest
        if holds == self._holds:
            return
        self._holds = holds
        for descriptor, read in self._read_of.items():
            if holds:
                self._hold(descriptor)
            else:
                self._epoll.unregister(descriptor)
                self._loop.add_reader(descriptor, read)

    def _hold(self, descriptor: int) -> None:
        self._loop.remove_reader(descriptor)
        self._epoll.register(descriptor, select.EPOLLIN)

    def _wait(self) -> None:
        self._waits = True
        self._loop.add_reader(self._epoll.fileno(), self._on_first)

    def _on_first(self) -> None:
        """Wait for others that become readable soon after the first one."""
        self._waits = False
        self._loop.remove_reader(self._epoll.fileno())
        self._set_timer()

    def _set_timer(self) -> None:
        self._longest_ns = max(self._longest_ns, self._pause_ns)
        self._due_ns = now_ns() + max(self._pause_ns, 1)
        self._timer.set(self._due_ns)

    def _on_timer(self) -> None:
        """Read every connection that has become readable."""
        ready = self._epoll.poll(0)
        if not ready:
            self._timer.set(0)
            self._wait()
            return
        self._on_time = now_ns() - self._due_ns <= self._pause_ns
        self._passes += 1
        self._reads += len(ready)
        self._new_reads += len(ready)
        try:
            for descriptor, _ in ready:
                if read := self._read_of.get(descriptor):  # none: what another one read has lost it
                    read()
        finally:
            self._set_timer()


def open_pacer(settings: ClientSettings) -> ReadPacer | None:
    """The pacer of a client with kernel timestamps, or None if its scenario wants every read at once."""
    if settings.read_pause_ms == "auto":
        return ReadPacer()
    return ReadPacer(round(settings.read_pause_ms * _NS_PER_MS)) if settings.read_pause_ms else None
