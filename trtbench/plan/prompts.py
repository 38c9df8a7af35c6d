"""Drawing a stage's prompts from the workload.

The units of one kind of request are single requests, or sessions of several turns, each in the order it is drawn.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import cycle, islice, repeat
from typing import Literal

import numpy as np

from trtbench.plan.plan import PlannedPrompt
from trtbench.plan.rng import MAX_SEED, draw_groups, draw_lengths, random_stream, think_ns
from trtbench.plan.sources.datasets import Datasets, Turn, dataset_key
from trtbench.plan.sources.prompt_source import PromptSource, TokenIds
from trtbench.plan.sources.tensors.rows import TensorRows
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.scenario import Scenario
from trtbench.scenario.workload.request_kind import Cancel, RequestKind

SeedName = Literal["arrivals", "lengths", "prompts", "sampling"]
RandomOf = Callable[[str, SeedName], np.random.Generator]
"""(What is drawn, by which seed) -> its own stream of random numbers, of one kind in one phase."""

NO_TOKENS: TokenIds = np.zeros(0, np.int32)
_TRIES = 20  # at short lengths a source may have no further prompt that is new


class NewPrompts:
    """Prompts of a source, each of which is new in the stage, so that no prefix cache contains it."""

    def __init__(self, source: PromptSource) -> None:
        self._source = source
        self._seen: set[bytes] = set()
        self._spent: set[int] = set()  # lengths at which no further new prompt was found

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
    """The requests of one kind in a phase of up to `count` requests. Every attribute has its own random stream, so that changing one
    attribute leaves the others as they are."""

    def __init__(
        self,
        name: str,
        kind: RequestKind,
        count: int,
        contents: Iterator[tuple[Turn, ...]],
        prefixes: Sequence[TokenIds],
        random: RandomOf,
    ) -> None:
        """`contents` are the users' new tokens of each unit; `prefixes` has one for each group."""
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
        """The requests of the next unit, with seeds 0; fewer than its turns if `count` is reached."""
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
                    tensors=content.tensors,
                )
            )
        if self._is_session and prompts and prompts[-1].tensors:
            prompts[-1] = replace(prompts[-1], ends_session=True)
        return prompts


def new_turns(kind: RequestKind, count: int, source: NewPrompts, random: RandomOf) -> Iterator[tuple[Turn, ...]]:
    """Contents from `source`, of up to `count` turns together."""
    lengths = iter(draw_lengths(kind.input_tokens, count, random("input_tokens", "lengths")))
    prompts = random("prompts", "prompts")
    for turns in _numbers_of_turns(kind, count, random):
        yield tuple(Turn(source.draw(tokens, prompts), None) for tokens in islice(lengths, turns))


def tensor_turns(kind: RequestKind, count: int, inputs: TensorRows, random: RandomOf) -> Iterator[tuple[Turn, ...]]:
    """Rows of tensors in turn: of sessions, as many as each has turns, or all of one of the data's own sequences."""
    if kind.sessions and inputs.sequences:
        for sequence in cycle(inputs.sequences):
            yield tuple(Turn(NO_TOKENS, None, inputs.rows[number]) for number in sequence)
    rows = inputs.in_turn()
    for turns in _numbers_of_turns(kind, count, random):
        yield tuple(Turn(NO_TOKENS, None, row) for row in islice(rows, turns))


def _numbers_of_turns(kind: RequestKind, count: int, random: RandomOf) -> list[int]:
    if kind.sessions and kind.sessions.turns:
        return draw_lengths(kind.sessions.turns, count, random("turns", "lengths"))
    return [1] * count


def _think_times_ns(kind: RequestKind, count: int, random: np.random.Generator) -> Iterator[int]:
    return iter(think_ns(kind.sessions.think_s, count, random).tolist()) if kind.sessions else repeat(0)


def _priorities(kind: RequestKind, count: int, random: np.random.Generator) -> Iterator[int]:
    if not kind.priorities:
        return repeat(0)
    weights = np.array(list(kind.priorities.values()))
    return iter(random.choice(list(kind.priorities), size=count, p=weights / weights.sum()).tolist())


def _cancellations(cancel: Cancel | None, count: int, random: np.random.Generator) -> Iterator[tuple[int | None, int | None]]:
    """(Number of tokens, nanoseconds) after which each request is cancelled; (None, None) if it is not."""
    if cancel is None:
        return repeat((None, None))
    chosen, after = random.spawn(2)
    tokens = iter(draw_lengths(cancel.after_tokens, count, after)) if cancel.after_tokens else repeat(None)
    pauses_ns = iter(think_ns(cancel.after_s, count, after).tolist()) if cancel.after_s else repeat(None)
    cancelled = (chosen.random(count) < cancel.ratio).tolist()
    hows = zip(tokens, pauses_ns, strict=False)  # one of the two repeats without end
    return (how if is_cancelled else (None, None) for is_cancelled, how in zip(cancelled, hows, strict=True))


class StagePrompts:
    """The prompts of one stage. Its warm-up has the same prefixes as its measured part, but no prompt in common with it."""

    def __init__(
        self, scenario: Scenario, stage: Stage, source: PromptSource, datasets: Datasets, inputs: TensorRows | None = None
    ) -> None:
        self._workload = scenario.workload
        self._seeds = scenario.seeds
        self._stage = stage
        self._source = NewPrompts(source)
        self._datasets = datasets
        self._inputs = inputs
        self._prefixes = {name: self._draw_prefixes(name, kind) for name, kind in scenario.workload.kinds.items()}

    def draw(self, warmup: bool, count: int) -> tuple[PlannedPrompt, ...]:
        """`count` prompts; the last session is shortened if it would exceed the number."""
        ratio = self._stage.cancel_ratio
        kinds = [self._draw_kind(name, kind.cancelled_at(ratio), warmup, count) for name, kind in self._workload.kinds.items()]
        order = self._random("", warmup, "mix", "lengths").choice(len(kinds), size=count, p=self._workload.kind_shares).tolist()
        prompts: list[PlannedPrompt] = []
        for unit, kind in enumerate(order):
            prompts += kinds[kind].unit(unit) if len(prompts) < count else []
        sampling = self._random("", warmup, "sampling", "sampling").integers(MAX_SEED, size=count).tolist()
        seeded = [replace(prompt, seed=seed) for prompt, seed in zip(prompts, sampling, strict=False)]
        own = self._stage.duplicate_ratio
        repeated = self._workload.duplicate_ratio if own is None else own
        return tuple(with_duplicates(seeded, repeated, self._random("", warmup, "duplicates", "prompts")))

    def _draw_kind(self, name: str, kind: RequestKind, warmup: bool, count: int) -> KindDraw:
        random = partial(self._random, name, warmup)
        if self._inputs:
            contents = tensor_turns(kind, count, self._inputs, random)
        elif kind.dataset:
            order = self._random(name, False, "dataset", "prompts")
            contents = self._datasets[dataset_key(kind, kind.dataset)].draw(order, backwards=warmup)
        else:
            contents = new_turns(kind, count, self._source, random)
        return KindDraw(name, kind, count, contents, self._prefixes[name], random)

    def _draw_prefixes(self, name: str, kind: RequestKind) -> list[TokenIds]:
        if kind.prefix is None:
            return []
        random = self._random(name, False, "prefixes", "prompts")
        return [self._source.draw(kind.prefix.tokens, random) for _ in range(kind.prefix.groups)]

    def _random(self, kind: str, warmup: bool, what: str, seed: SeedName) -> np.random.Generator:
        return random_stream(f"{what}:{kind}" if kind else what, getattr(self._seeds, seed), self._stage, warmup)


def with_duplicates(prompts: Sequence[PlannedPrompt], ratio: float, random: np.random.Generator) -> list[PlannedPrompt]:
    """Replace the share `ratio` of the prompts by earlier ones, with their tokens, length and seed, so that a response cache can answer.

    This is systematic sampling: among any first n prompts the number of duplicates differs from `ratio` * n by less than one.
    """
    start = random.random() * (1 - ratio)
    kept: list[PlannedPrompt] = []
    made = []
    for number, (prompt, pick) in enumerate(zip(prompts, random.random(len(prompts)).tolist(), strict=True)):
        if int((number + 1) * ratio + start) > int(number * ratio + start):
            earlier = kept[int(pick * len(kept))]
            asked = {name: getattr(earlier, name) for name in ("input_ids", "output_tokens", "seed", "mix", "tensors")}
            made.append(replace(prompt, **asked))
        else:
            kept.append(prompt)
            made.append(prompt)
    return made
