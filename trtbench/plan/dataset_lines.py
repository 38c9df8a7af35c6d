"""A plan as the rows of a dataset that other tools read: its measured requests, stage by stage."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from trtbench.errors import UserError
from trtbench.plan.plan import Phase, Plan

_NS_PER_MS = 1e6


@dataclass(frozen=True)
class DatasetFormat:
    """`rows` are JSON values, one for each line; `lacks` is what of a plan they cannot hold."""

    name: str
    rows: Callable[[Plan], Iterator[dict[str, Any]]]
    lacks: str


def json_lines(form: DatasetFormat, plan: Plan) -> Iterator[str]:
    """The lines of the file; UserError for a plan that the format cannot hold."""
    return (json.dumps(row, separators=(",", ":")) + "\n" for row in form.rows(plan))


def _trtllm_bench(plan: Plan) -> Iterator[dict[str, Any]]:
    """trtllm-bench's rows: `task_id` counts from 0, prompts are token ids."""
    number = 0
    for phase in _phases(plan):
        for prompt in phase.prompts:
            yield {"task_id": number, "input_ids": prompt.input_ids.tolist(), "output_tokens": prompt.output_tokens}
            number += 1


def _mooncake(plan: Plan) -> Iterator[dict[str, Any]]:
    """Mooncake's rows: arrival times in milliseconds from the start of the stage, and lengths."""
    if len(plan.stages) > 1:
        raise UserError(f"load: a trace has one stage and this load has {len(plan.stages)}: leave one")
    for phase in _phases(plan):
        if phase.due_offsets_ns is None:
            closed = f"load: stage {phase.stage.label} is a closed loop, which has no arrival times"
            raise UserError(f"{closed}: give a rate (--request-rate), or write the format trtllm-bench")
        for number, due_ns in enumerate(phase.due_offsets_ns.tolist()):
            prompt = phase.prompts[number % len(phase.prompts)]
            yield {"timestamp": due_ns / _NS_PER_MS, "input_length": len(prompt.input_ids), "output_length": prompt.output_tokens}


def _phases(plan: Plan) -> Iterator[Phase]:
    for stage in plan.stages:
        if any(prompt.session is not None for prompt in stage.measured.prompts):
            raise UserError("workload.sessions: a turn repeats answers that are not known yet, a row is one request: leave sessions out")
        yield stage.measured


DATASET_FORMATS: dict[str, DatasetFormat] = {
    one.name: one
    for one in (
        DatasetFormat("trtllm-bench", _trtllm_bench, "arrival times, stages, cancellations, priorities and sampling seeds"),
        DatasetFormat("mooncake", _mooncake, "prompts, cancellations, priorities and sampling seeds"),
    )
}
