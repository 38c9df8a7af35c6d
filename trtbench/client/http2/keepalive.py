"""Keepalive: when a silent connection is asked whether it lives, and when it is given up. Arithmetic on instants."""

from __future__ import annotations

from typing import Literal

from trtbench.system.clock import NS_PER_S

_AFTER_PONG_NS = 300 * NS_PER_S
"""gRPC servers end a connection with too_many_pings when pings without data between them come more often (gRFC A8)."""


class Keepalive:
    """`heard_ns`: the last instant at which anything came. An answer to a PING is due within `silence_ns` too."""

    __slots__ = ("_pinged_ns", "_ponged_ns", "heard_ns", "silence_ns")

    def __init__(self, silence_ns: int, now_ns: int) -> None:
        self.silence_ns = silence_ns
        self.heard_ns = now_ns
        self._pinged_ns = self._ponged_ns = -1

    def ponged(self) -> None:
        """What was heard last was an answer to a PING."""
        self._ponged_ns = self.heard_ns

    def check(self, now_ns: int, in_flight: bool) -> Literal["wait", "ping", "lost"]:
        """After "ping" the caller sends one. Anything heard since counts as its answer."""
        if self._pinged_ns > self.heard_ns:
            return "lost" if now_ns - self._pinged_ns > self.silence_ns else "wait"
        patience_ns = _AFTER_PONG_NS if self.heard_ns == self._ponged_ns else self.silence_ns
        if not in_flight or now_ns - self.heard_ns <= patience_ns:
            return "wait"
        self._pinged_ns = now_ns
        return "ping"
