"""The search for the context limit: the longest prompt that is served, for one user and for several, and the failures beyond it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, fields
from typing import Literal

from trtbench.experiments.context_limit.spec import ContextLimit
from trtbench.rundir.event_kinds import EventData
from trtbench.rundir.experiment_events import ContextLimitFound, ContextTrial
from trtbench.system.memory import Memory, MemoryBound, OomKill


class Bisection:
    """A bisection. It doubles the length from `shortest` until one fails or `longest` passes, then halves the interval until it is
    `resolution`.

    `passed` is the longest length that passed, `failed` the shortest that failed; each is None until there is one. A limit is found only
    if failure is monotonic: if every length beyond a failing one fails.
    """

    def __init__(self, shortest: int, longest: int, resolution: int) -> None:
        self.passed: int | None = None
        self.failed: int | None = None
        self._shortest, self._longest, self._resolution = shortest, longest, resolution

    def next(self) -> int | None:
        """The length to try next; None if the search is over."""
        if self.failed is None:
            if self.passed is None:
                return self._shortest
            return min(self.passed * 2, self._longest) if self.passed < self._longest else None
        low = self.passed or 0
        gap = self.failed - low
        if gap <= self._resolution:
            return None
        steps = gap // self._resolution  # on a grid of whole resolutions above `low`
        return low + max(1, steps // 2) * self._resolution if steps > 1 else low + gap // 2

    def add(self, length: int, passed: bool) -> None:
        if passed:
            self.passed = max(self.passed or 0, length)
        else:
            self.failed = min(self.failed or length, length)


Phase = Literal["search", "confirm", "extreme"]
Ended = Literal["done", "interrupted", "server_lost", "low_memory", "unserving"]


@dataclass(frozen=True)
class Trial:
    """The result of sending `users` prompts of `input_tokens` at once. `stage`: the label of their records. `stop` ends the search
    after this trial.

    `unserving`: the server runs but fails even a one-token request, so every longer prompt would fail for that reason alone.

    `healthy`: whether a one-token request was served after a failure; `blocks_left`: KV blocks then in use minus those before the trial;
    None if not asked or unknown. `oom_kill`: after a failure, whether the kernel killed one of the run's processes because memory ran
    out. `memory`: the limit that was exceeded, if that stopped the trial. `log_says`: what ran out according to `log_line`, the first
    such line that a server wrote in a failed trial.
    """

    users: int
    input_tokens: int
    phase: Phase
    stage: str
    passed: bool
    start_ns: int
    end_ns: int
    stop: Ended | None = None
    healthy: bool | None = None
    blocks_left: int | None = None
    oom_kill: OomKill | None = None
    memory: MemoryBound | None = None
    log_says: Memory | Literal["kv_cache"] | None = None
    log_line: str = ""


Try = Callable[[int, int, Phase], Awaitable[Trial]]
"""A function (users, input_tokens, phase) that returns the trial's result."""


async def find_limits(
    asked: ContextLimit, longest_tokens: int, block_tokens: int, attempt: Try, record: Callable[[EventData], None]
) -> Ended:
    """Run a search for each number of users, each confirmed on both sides, then the extreme lengths.

    `record` receives every trial and the end of every search. The function returns early when a trial says to stop.
    """

    async def tried(users: int, tokens: int, phase: Phase) -> Trial:
        trial = await attempt(users, tokens, phase)
        record(ContextTrial(**{one.name: getattr(trial, one.name) for one in fields(trial)}))
        return trial

    for users in asked.concurrency:
        search = Bisection(asked.shortest_tokens, longest_tokens, block_tokens)
        while (tokens := search.next()) is not None:
            trial = await tried(users, tokens, "search")
            if trial.stop:
                return trial.stop
            search.add(tokens, trial.passed)
        for side in (search.passed, search.failed):
            for _ in range(asked.confirm if side else 0):
                trial = await tried(users, side or 0, "confirm")
                if trial.stop:
                    return trial.stop
        record(ContextLimitFound(users=users, passed_tokens=search.passed, failed_tokens=search.failed))
    for tokens in asked.extreme_tokens:
        trial = await tried(1, tokens, "extreme")
        if trial.stop:
            return trial.stop
    return "done"
