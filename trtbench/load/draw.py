"""Drawing a Plan from seeds.

Each dimension (arrivals, lengths, prompts, sampling) has its own seed, and each stage its own stream of it: changing one dimension
or adding a stage leaves the rest as it was, and a longer stage begins like the shorter one.
"""

from __future__ import annotations

import hashlib

import numpy as np

from trtbench.load.arrivals import Offsets, due_offsets
from trtbench.load.plan import Phase, Plan, PlannedPrompt, StagePlan
from trtbench.load.workload import PromptSource, TokenIds
from trtbench.scenario import Range, Scenario, Stage, Workload

_TRIES = 20  # at short lengths a source may have no further prompt that is new
_MAX_SEED = 2**31  # fits every seed input in use, and JSON readers that know doubles only


def draw_plan(scenario: Scenario, source: PromptSource) -> Plan:
    """Draw every stage of `scenario` with prompts from `source`."""
    return Plan(tuple(_draw_stage(scenario, stage, source) for stage in scenario.load))


def _draw_stage(scenario: Scenario, stage: Stage, source: PromptSource) -> StagePlan:
    seen: set[bytes] = set()
    offsets = _offsets(stage, False, scenario.seeds.arrivals)
    # A stage that ends by time alone uses its prompts in turn; one with a count has a prompt for every request.
    prompts = stage.requests or scenario.workload.distinct_prompts
    if offsets is not None:
        prompts = min(prompts, len(offsets))
    measured = _draw_prompts(scenario, stage, False, prompts, source, seen)
    warmup = _draw_prompts(scenario, stage, True, stage.warmup_requests, source, seen)
    warmup_offsets = _offsets(stage, True, scenario.seeds.arrivals)
    return StagePlan(stage, Phase(stage, True, warmup, len(measured), warmup_offsets), Phase(stage, False, measured, 0, offsets))


def _offsets(stage: Stage, warmup: bool, seed: int) -> Offsets | None:
    if stage.mode == "concurrency":
        return None
    assert stage.rate is not None
    requests, duration_s = (stage.warmup_requests, None) if warmup else (stage.requests, stage.duration_s)
    return due_offsets(stage.mode, stage.rate, stage.burstiness, requests, duration_s, _random("arrivals", seed, stage, warmup))


def _draw_prompts(
    scenario: Scenario, stage: Stage, warmup: bool, count: int, source: PromptSource, seen: set[bytes]
) -> tuple[PlannedPrompt, ...]:
    seeds, workload = scenario.seeds, scenario.workload
    input_tokens, output_tokens = _draw_lengths(workload, count, stage, warmup, seeds.lengths)
    prompt_random = _random("prompts", seeds.prompts, stage, warmup)
    ids = [_draw_new(source, tokens, prompt_random, seen) for tokens in input_tokens]
    sampling = _random("sampling", seeds.sampling, stage, warmup).integers(_MAX_SEED, size=count).tolist()
    return tuple(PlannedPrompt(*fields) for fields in zip(ids, output_tokens, sampling, strict=True))


def _draw_lengths(workload: Workload, count: int, stage: Stage, warmup: bool, seed: int) -> tuple[list[int], list[int]]:
    def draw(name: str, bounds: Range) -> list[int]:
        drawn: list[int] = _random(name, seed, stage, warmup).integers(bounds.min, bounds.max + 1, size=count).tolist()
        return drawn

    return draw("input_tokens", workload.input_tokens), draw("output_tokens", workload.output_tokens)


def _draw_new(source: PromptSource, tokens: int, random: np.random.Generator, seen: set[bytes]) -> TokenIds:
    """A prompt that the stage does not have yet, so that no prefix cache meets it twice."""
    for _ in range(_TRIES):
        ids = source.draw(tokens, random)
        key = hashlib.blake2b(ids.tobytes(), digest_size=16).digest()
        if key not in seen:
            break
    seen.add(key)
    return ids


def _random(dimension: str, seed: int, stage: Stage, warmup: bool) -> np.random.Generator:
    """A stream of its own for every dimension, stage and phase."""
    name = f"{dimension}/{stage.label}/{'warmup' if warmup else 'measured'}"
    salt = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")
    return np.random.default_rng(np.random.SeedSequence([seed % 2**64, salt]))
