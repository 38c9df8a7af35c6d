"""A phase that replays a trace: due when it says, prompts as long as it says and with the beginnings in common that its hash ids say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from trtbench.plan.draws.rng import MAX_SEED, random_stream
from trtbench.plan.plan import Phase, PlannedPrompt
from trtbench.plan.sources.prompt_source import PromptSource, TokenIds
from trtbench.plan.sources.trace import TracedRequest, trace_offsets
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.scenario import Seeds


def draw_replay(stage: Stage, warmup: bool, trace: Sequence[TracedRequest], seeds: Seeds, source: PromptSource) -> Phase:
    """A warm-up replays the beginning of the trace with tokens of its own."""
    requests, duration_s = (stage.warmup_requests, None) if warmup else (stage.requests, stage.duration_s)
    offsets = trace_offsets(trace, stage.speed, requests, duration_s)
    return Phase(stage, warmup, _draw_prompts(stage, warmup, trace[: len(offsets)], seeds, source), 0, offsets)


def _draw_prompts(
    stage: Stage, warmup: bool, trace: Sequence[TracedRequest], seeds: Seeds, source: PromptSource
) -> tuple[PlannedPrompt, ...]:
    """One prompt a request. A block of tokens follows from its hash id, the seed, the stage and the phase alone."""
    random = random_stream("prompts", seeds.prompts, stage, warmup)
    blocks: dict[int, TokenIds] = {}

    def block(hash_id: int, tokens: int) -> TokenIds:
        if hash_id not in blocks:
            blocks[hash_id] = source.draw(tokens, random_stream(f"block {hash_id}", seeds.prompts, stage, warmup))
        return blocks[hash_id]

    def ids(request: TracedRequest) -> TokenIds:
        if request.input_ids is not None:
            return request.input_ids
        if not request.hash_ids:
            return source.draw(request.input_tokens, random)
        own_tokens = max(0, request.input_tokens - len(request.hash_ids) * request.block_tokens)
        own = [source.draw(own_tokens, random)] if own_tokens else []
        return np.concatenate([*(block(one, request.block_tokens) for one in request.hash_ids), *own])[: request.input_tokens]

    sampling = random_stream("sampling", seeds.sampling, stage, warmup).integers(MAX_SEED, size=len(trace)).tolist()
    return tuple(PlannedPrompt(ids(request), request.output_tokens, seed) for request, seed in zip(trace, sampling, strict=True))
