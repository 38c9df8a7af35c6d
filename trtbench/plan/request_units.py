"""The units of one kind of request: single requests, or sessions of several turns, each in the order it is drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from itertools import islice, repeat
from typing import Literal

import numpy as np

from trtbench.plan.draws.drawn_lengths import draw_lengths
from trtbench.plan.draws.prefixes import draw_groups
from trtbench.plan.draws.think_times import think_ns
from trtbench.plan.plan import PlannedPrompt
from trtbench.plan.sources.datasets import Turn
from trtbench.plan.sources.prompt_source import PromptSource, TokenIds
from trtbench.scenario.workload.request_kind import Cancel, RequestKind

SeedName = Literal["arrivals", "lengths", "prompts", "sampling"]
RandomOf = Callable[[str, SeedName], np.random.Generator]
"""(What is drawn, by which seed) -> its own stream of random numbers, of one kind in one phase."""

_TRIES = 20  # at short lengths a source may have no further prompt that is new


class NewPrompts:
    """Prompts of a source, each one new to the stage, so that no prefix cache meets it twice."""

    def __init__(self, source: PromptSource) -> None:
        self._source = source
        self._seen: set[bytes] = set()
        self._spent: set[int] = set()  # lengths of which no new one was found: looked for no more

    def draw(self, tokens: int, random: np.random.Generator) -> TokenIds:
        for _ in range(1 if tokens in self._spent else _TRIES):
            ids = self._source.draw(tokens, random)
            key = hashlib.blake2b(ids.tobytes(), digest_size=16).digest()
            if key not in self._seen:
                self._seen.add(key)
                return ids
        self._spent.add(tokens)
        return ids


class KindDraw:
    """One kind in one phase of up to `count` requests. Every attribute has a stream of its own, so that one changes without the others."""

    def __init__(
        self,
        name: str,
        kind: RequestKind,
        count: int,
        contents: Iterator[tuple[Turn, ...]],
        prefixes: Sequence[TokenIds],
        random: RandomOf,
    ) -> None:
        """`contents`: the users' new tokens of each unit; `prefixes`: one a group."""
        self._name = name
        self._is_session = kind.sessions is not None
        self._contents = contents
        self._prefixes = prefixes
        self._groups = iter(draw_groups(kind.prefix, count, random("prefix", "prompts"))) if kind.prefix else repeat(None)
        self._requests = zip(
            draw_lengths(kind.output_tokens, count, random("output_tokens", "lengths")),
            _think_times_ns(kind, count, random("session_think", "arrivals")),
            _priorities(kind, count, random("priority", "lengths")),
            _cancellations(kind.cancel, count, random("cancel", "lengths")),
            strict=False,
        )

    def unit(self, number: int) -> list[PlannedPrompt]:
        """The next unit's requests, their seeds 0; fewer than its turns where `count` is reached."""
        group = next(self._groups)
        prompts = []
        for turn, (content, request) in enumerate(zip(next(self._contents), self._requests, strict=False)):
            output_tokens, pause_ns, priority, (after_tokens, after_ns) = request
            begins = turn == 0 and group is not None
            prompts.append(
                PlannedPrompt(
                    np.concatenate([self._prefixes[group or 0], content.input_ids]) if begins else content.input_ids,
                    content.output_tokens or output_tokens,
                    seed=0,
                    think_ns=pause_ns if turn else 0,
                    mix=self._name,
                    priority=priority,
                    cancel_after_tokens=after_tokens,
                    cancel_after_ns=after_ns,
                    session=number if self._is_session else None,
                    turn=turn,
                )
            )
        return prompts


def new_turns(kind: RequestKind, count: int, source: NewPrompts, random: RandomOf) -> Iterator[tuple[Turn, ...]]:
    """Contents made from `source`: up to `count` turns in all."""
    lengths = iter(draw_lengths(kind.input_tokens, count, random("input_tokens", "lengths")))
    turns = [1] * count
    if kind.sessions and kind.sessions.turns:
        turns = draw_lengths(kind.sessions.turns, count, random("turns", "lengths"))
    prompts = random("prompts", "prompts")
    for of_this in turns:
        yield tuple(Turn(source.draw(tokens, prompts), None) for tokens in islice(lengths, of_this))


def _think_times_ns(kind: RequestKind, count: int, random: np.random.Generator) -> Iterator[int]:
    return iter(think_ns(kind.sessions.think_s, count, random).tolist()) if kind.sessions else repeat(0)


def _priorities(kind: RequestKind, count: int, random: np.random.Generator) -> Iterator[int]:
    if not kind.priorities:
        return repeat(0)
    weights = np.array(list(kind.priorities.values()))
    return iter(random.choice(list(kind.priorities), size=count, p=weights / weights.sum()).tolist())


def _cancellations(cancel: Cancel | None, count: int, random: np.random.Generator) -> Iterator[tuple[int | None, int | None]]:
    """(After so many tokens, after so many ns) of each request; (None, None): it is not cancelled."""
    if cancel is None:
        return repeat((None, None))
    chosen, after = random.spawn(2)
    tokens = iter(draw_lengths(cancel.after_tokens, count, after)) if cancel.after_tokens else repeat(None)
    pauses_ns = iter(think_ns(cancel.after_s, count, after).tolist()) if cancel.after_s else repeat(None)
    cancelled = (chosen.random(count) < cancel.ratio).tolist()
    hows = zip(tokens, pauses_ns, strict=False)  # one of the two repeats without end
    return (how if is_cancelled else (None, None) for is_cancelled, how in zip(cancelled, hows, strict=True))
