"""The Plan: every request of a scenario, determined before the run and hashed. `draw.py` makes plans, `plan_file.py` saves them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from trtbench.plan.arrivals import Offsets
from trtbench.plan.sources.left_out import LeftOut
from trtbench.plan.sources.prompt_source import TokenIds
from trtbench.plan.sources.tensors.tensor import InputRow, digest_of
from trtbench.rundir.event_kinds import PlanDrawn
from trtbench.scenario.load.stage import Stage

SPARSE_FIELDS = ("think_ns", "mix", "priority", "cancel_after_tokens", "cancel_after_ns", "session", "turn", "text", "ends_session")
"""Fields of a prompt that its line has only if they differ from their defaults."""

_LATER_KEYS = {"trace_block_tokens"}


@dataclass(frozen=True)
class PlannedPrompt:
    """What a request asks of the model: `input_ids` of shape [tokens], the number of tokens to generate, and a seed for sampling.

    In a `session`, a turn after the first has only the user's new tokens in `input_ids`; before them the model reads all earlier turns and
    its own answers.
    """

    input_ids: TokenIds
    output_tokens: int
    seed: int
    think_ns: int = 0  # the user's think time before it, from the end of the user's previous request
    mix: str = ""  # the component of a mixed workload
    priority: int = 0  # Triton's level, where 1 is the highest and 0 names none
    cancel_after_tokens: int | None = None  # the client cancels when this number has arrived
    cancel_after_ns: int | None = None  # the client cancels this long after sending
    session: int | None = None
    turn: int = 0
    text: str = ""  # the same prompt for a model that takes text; the ids are then those of the client's tokenizer
    tensors: InputRow | None = None  # what the request carries in place of tokens; its line in the file has the row's number
    ends_session: bool = False  # the last request of a sequence, which frees the state that the server keeps


@dataclass(frozen=True)
class Phase:
    """The warm-up or the measured part of a stage.

    Request i has `prompts[i % len(prompts)]`. `first_prompt` is the number of `prompts[0]` in the stage, where measured prompts are
    numbered from 0 and those of the warm-up after them. An open loop has `due_offsets_ns`, one for each unit, of shape [units sent]. A
    closed loop ends by `requests`, by `duration_s`, or by the first of both. It may have `users_ns`, of shape [users, 2]: when each user
    enters and leaves, from the start of the phase; -1 means that a user stays.
    """

    stage: Stage
    warmup: bool
    prompts: tuple[PlannedPrompt, ...]
    first_prompt: int
    due_offsets_ns: Offsets | None
    users_ns: Offsets | None = None

    @cached_property
    def units(self) -> tuple[range, ...]:
        """What one user sends in sequence, as positions in `prompts`: the turns of a session, or a single request.

        Unit u is `units[u % len(units)]`; its requests are numbered from `u // len(units) * len(prompts)` on.
        """
        starts = [at for at, prompt in enumerate(self.prompts) if prompt.turn == 0]
        return tuple(map(range, starts, [*starts[1:], len(self.prompts)]))

    @property
    def requests(self) -> int | None:
        """The bound on the number of requests; None for a closed loop that only time bounds."""
        if self.due_offsets_ns is not None:
            cycles, rest = divmod(len(self.due_offsets_ns), len(self.units) or 1)
            return cycles * len(self.prompts) + (self.units[rest].start if rest else 0)
        return self.stage.warmup_requests if self.warmup else self.stage.requests

    @property
    def duration_s(self) -> float | None:
        """The time bound of a closed loop. That of an open loop is contained in its offsets."""
        return None if self.warmup or self.due_offsets_ns is not None else self.stage.duration_s

    @property
    def planned(self) -> int | None:
        """The number of requests, or None for a closed loop that may end by time, where it is not known before the run."""
        return None if self.duration_s is not None else self.requests


@dataclass(frozen=True)
class StagePlan:
    stage: Stage
    warmup: Phase
    measured: Phase


@dataclass(frozen=True)
class Plan:
    stages: tuple[StagePlan, ...]
    inputs: tuple[InputRow, ...] = ()  # of requests that carry tensors: each different one
    notes: tuple[str, ...] = field(default=(), compare=False)  # neither these nor what follows are in the file, or in the hash
    left_out: tuple[LeftOut, ...] = field(default=(), compare=False)  # one an input file

    def facts(self, *notes: str) -> PlanDrawn:
        """`notes` come after the plan's own."""
        files = (text for one in self.left_out for text in (one.reading, one.text) if text)
        texts = [*files, *self.notes, *notes]
        return PlanDrawn(sha256=self.sha256, notes=texts, inputs=[one.facts for one in self.left_out])

    @cached_property
    def sha256(self) -> str:
        """The hash of every stage, offset and prompt: two plans with the same hash are the same load."""
        digest = hashlib.sha256()
        for line in self.lines():
            digest.update(line)
        return digest.hexdigest()

    @property
    def longest_input_tokens(self) -> int:
        """The length of the longest prompt, warm-ups included."""
        phases = [phase for part in self.stages for phase in (part.warmup, part.measured)]
        return max((len(prompt.input_ids) for phase in phases for prompt in phase.prompts), default=0)

    def lines(self) -> Iterator[bytes]:
        """What is hashed and saved: for each stage a JSON line with its due offsets, then a line for each prompt.

        A plan whose requests carry tensors begins with a line that has the hash of these.
        """
        if self.inputs:
            yield json_line({"inputs_sha256": digest_of(self.inputs), "rows": len(self.inputs)})
        for part in self.stages:
            yield json_line(
                {
                    "stage": part.stage.label,
                    "asked": _asked(part.stage),
                    "due_offsets_ns": _listed(part.measured.due_offsets_ns),
                    "warmup_offsets_ns": _listed(part.warmup.due_offsets_ns),
                    "users_ns": _listed(part.measured.users_ns),
                }
            )
            for phase in (part.measured, part.warmup):
                for number, prompt in enumerate(phase.prompts, phase.first_prompt):
                    yield json_line(_prompt_row(phase, number, prompt))


def _asked(stage: Stage) -> dict[str, Any]:
    """The stage; a key that came later is not there where it says nothing, so that plans keep their hashes."""
    asked = stage.model_dump(mode="json")
    return {key: value for key, value in asked.items() if key not in _LATER_KEYS or value is not None}


def _prompt_row(phase: Phase, number: int, prompt: PlannedPrompt) -> dict[str, Any]:
    row = {"stage": phase.stage.label, "prompt": number, "warmup": phase.warmup}
    row |= {name: value for name in SPARSE_FIELDS if (value := getattr(prompt, name)) != getattr(PlannedPrompt, name)}
    row |= {"row": prompt.tensors.number} if prompt.tensors else {}
    return row | {"output_tokens": prompt.output_tokens, "seed": prompt.seed, "input_ids": prompt.input_ids.tolist()}


def json_line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode() + b"\n"


def _listed(offsets: Offsets | None) -> list[int] | None:
    return None if offsets is None else offsets.tolist()
