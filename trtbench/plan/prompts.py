"""Drawing a stage's prompts from the workload."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from trtbench.plan.draws.rng import MAX_SEED, random_stream
from trtbench.plan.plan import PlannedPrompt
from trtbench.plan.request_units import KindDraw, NewPrompts, SeedName, new_turns
from trtbench.plan.sources.datasets import Datasets, dataset_key
from trtbench.plan.sources.prompt_source import PromptSource, TokenIds
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.scenario import Scenario
from trtbench.scenario.workload.request_kind import RequestKind


class StagePrompts:
    """The prompts of one stage. Its warm-up shares the prefixes of its measured part, and no prompt."""

    def __init__(self, scenario: Scenario, stage: Stage, source: PromptSource, datasets: Datasets) -> None:
        self._workload = scenario.workload
        self._seeds = scenario.seeds
        self._stage = stage
        self._source = NewPrompts(source)
        self._datasets = datasets
        self._prefixes = {name: self._draw_prefixes(name, kind) for name, kind in scenario.workload.kinds.items()}

    def draw(self, warmup: bool, count: int) -> tuple[PlannedPrompt, ...]:
        """`count` prompts; the last session is cut short where it would go over."""
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
        if kind.dataset:
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
    """Put an earlier prompt in the place of `ratio` of them, tokens, length and seed, so that a response cache can answer.

    Systematic sampling: within any first n there are `ratio` * n duplicates, to less than one. The rest stays as it was.
    """
    start = random.random() * (1 - ratio)
    kept: list[PlannedPrompt] = []
    made = []
    for number, (prompt, pick) in enumerate(zip(prompts, random.random(len(prompts)).tolist(), strict=True)):
        if int((number + 1) * ratio + start) > int(number * ratio + start):
            earlier = kept[int(pick * len(kept))]
            asked = {name: getattr(earlier, name) for name in ("input_ids", "output_tokens", "seed", "mix")}
            made.append(replace(prompt, **asked))
        else:
            kept.append(prompt)
            made.append(prompt)
    return made
