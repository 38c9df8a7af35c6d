"""Drawing a Plan from seeds, or from a trace.

Each dimension (arrivals, lengths, prompts, sampling) has its own seed, and each stage its own stream of it: changing one dimension
or adding a stage leaves the rest as it was, and a longer stage begins like the shorter one.

A phase that replays a trace has its arrivals, its lengths of prompts, and the common beginnings that its hash ids give.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from trtbench.plan.phases import draw_offsets, draw_users, fit_units, with_think_times
from trtbench.plan.plan import Phase, Plan, PlannedPrompt, StagePlan
from trtbench.plan.plan_size import check_plan_size
from trtbench.plan.prompts import StagePrompts
from trtbench.plan.rng import MAX_SEED, random_stream
from trtbench.plan.sources.datasets import Datasets, open_datasets
from trtbench.plan.sources.left_out import LeftOut
from trtbench.plan.sources.prompt_source import PromptSource, TokenIds
from trtbench.plan.sources.reader import TracedRequest
from trtbench.plan.sources.tensors.rows import TensorRows
from trtbench.plan.sources.trace import load_trace, trace_offsets
from trtbench.scenario.load.measurement import Seeds
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.scenario import Scenario
from trtbench.tasks.registry import TASKS


def draw_replay(stage: Stage, warmup: bool, trace: Sequence[TracedRequest], seeds: Seeds, source: PromptSource) -> Phase:
    """A phase that replays a trace. A warm-up replays the beginning of the trace with different tokens."""
    requests, duration_s = (stage.warmup_requests, None) if warmup else (stage.requests, stage.duration_s)
    offsets = trace_offsets(trace, stage.speed, requests, duration_s)
    return Phase(stage, warmup, _draw_prompts(stage, warmup, trace[: len(offsets)], seeds, source), 0, offsets)


def _draw_prompts(
    stage: Stage, warmup: bool, trace: Sequence[TracedRequest], seeds: Seeds, source: PromptSource
) -> tuple[PlannedPrompt, ...]:
    """One prompt for each request. The tokens of a block depend only on its hash id, the seed, the stage and the phase."""
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


Traces = dict[tuple[Path, int | None, str | None], tuple[tuple[TracedRequest, ...], LeftOut]]
"""Traces by file, block size and format."""


def draw_plan(scenario: Scenario, source: PromptSource, inputs: TensorRows | None = None) -> Plan:
    """Draw every stage of `scenario` with prompts from `source`, or from the workload's datasets in the tokens of `source`.

    With `inputs`, requests carry their rows in turn, and no prompts.

    UserError when a dataset or a trace cannot be read, or has a text that `source` cannot encode, and when the plan would be too large.
    """
    check_plan_size(scenario, scenario.load)
    datasets = open_datasets(scenario.workload, source)
    traces: Traces = {}
    stages = tuple(_draw_stage(scenario, stage, source, datasets, traces, inputs) for stage in scenario.load)
    return Plan(
        stages,
        inputs=inputs.rows if inputs else (),
        notes=(*_notes(scenario), *_notes_on(inputs, scenario)),
        left_out=(*(rows.left_out for rows in datasets.values()), *(trace[1] for trace in traces.values())),
    )


def _draw_stage(
    scenario: Scenario, stage: Stage, source: PromptSource, datasets: Datasets, traces: Traces, inputs: TensorRows | None
) -> StagePlan:
    if stage.trace is not None:
        key = (stage.trace, stage.trace_block_tokens, stage.trace_format)
        trace, _ = traces.setdefault(key, traces.get(key) or load_trace(*key))
        measured, warmup = (draw_replay(stage, warm, trace, scenario.seeds, source) for warm in (False, True))
    else:
        prompts = StagePrompts(scenario, stage, source, datasets, inputs)
        measured, warmup = (_draw_phase(scenario, stage, warm, prompts) for warm in (False, True))
    if not TASKS[scenario.task].draws_output_tokens:
        measured, warmup = (without_outputs(phase) for phase in (measured, warmup))
    return StagePlan(stage, replace(warmup, first_prompt=len(measured.prompts)), measured)


def without_outputs(phase: Phase) -> Phase:
    """The same requests without output tokens, for a task that does not generate."""
    return replace(phase, prompts=tuple(replace(prompt, output_tokens=0) for prompt in phase.prompts))


def _draw_phase(scenario: Scenario, stage: Stage, warmup: bool, source: StagePrompts) -> Phase:
    seed, sessions = scenario.seeds.arrivals, any(kind.sessions for kind in scenario.workload.kinds.values())
    offsets = draw_offsets(stage, warmup, seed)
    # A stage that ends by time alone uses its prompts in turn; one with a count has a prompt for every request.
    count = stage.warmup_requests if warmup else stage.requests or scenario.workload.distinct_prompts
    if offsets is not None and not sessions:
        count = min(count, len(offsets))
    prompts = source.draw(warmup, count)
    if offsets is not None:
        prompts, offsets = fit_units(prompts, offsets, counted=warmup or stage.requests is not None)
    users_ns = None if warmup else draw_users(stage)
    return Phase(stage, warmup, with_think_times(prompts, stage, warmup, seed), 0, offsets, users_ns)


def _notes_on(inputs: TensorRows | None, scenario: Scenario) -> Iterator[str]:
    if inputs and inputs.sequences and scenario.workload.sessions:
        yield f"workload.sessions.turns (--sequence-length) is not used: the sequences are those of {inputs.file}"


def _notes(scenario: Scenario) -> Iterator[str]:
    for name, kind in scenario.workload.kinds.items():
        if kind.dataset and kind.ignores_input_tokens:
            key = f"workload.mix.{name}" if name else "workload"
            yield (
                f"{key}.input_tokens is not used: the prompts are those of {kind.dataset.path}, with their own lengths; limit them with "
                f"{key}.dataset.input_tokens"
            )
