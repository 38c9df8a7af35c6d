"""A saved plan: a JSON line with the hash, then the lines of the plan. Input tensors are in a file next to it (inputs_file.py)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from trtbench.errors import UserError, naming
from trtbench.plan.arrivals import Offsets
from trtbench.plan.inputs_file import INPUTS_FILE, load_inputs, save_inputs
from trtbench.plan.plan import SPARSE_FIELDS, Phase, Plan, PlannedPrompt, StagePlan, json_line
from trtbench.plan.sources.tensors.tensor import InputRow
from trtbench.rundir.lines import read_lines
from trtbench.scenario.load.stage import Stage


class PlanError(UserError):
    """A plan file that does not contain what was written."""


def save_plan(plan: Plan, path: Path) -> None:
    with naming(path), path.open("wb") as file:
        file.writelines(chain([json_line({"plan_sha256": plan.sha256})], plan.lines()))
    if plan.inputs:
        save_inputs(plan.inputs, path.with_name(INPUTS_FILE))


def load_plan(path: Path) -> Plan:
    """The plan in a file; PlanError if the file is not a plan, is truncated, or does not have the content of its hash."""
    rows = read_lines(path)
    try:
        sha256 = next(rows)["plan_sha256"]
        first: Any = next(rows, {})
        inputs = load_inputs(path.with_name(INPUTS_FILE)) if "inputs_sha256" in first else ()
        plan = Plan(tuple(_read_stages(chain([first], rows), inputs)), inputs)
    except (StopIteration, RuntimeError, LookupError, TypeError, ValueError, OSError) as error:
        raise PlanError(f"{path} is not a plan ({error!r})") from error
    if plan.sha256 != sha256:
        raise PlanError(f"{path} was changed: its content has hash {plan.sha256[:12]}, its header says {sha256[:12]}")
    return plan


def _read_prompt(row: dict[str, Any], inputs: Sequence[InputRow]) -> PlannedPrompt:
    sparse = {name: row[name] for name in SPARSE_FIELDS if name in row}
    if "row" in row:
        sparse["tensors"] = inputs[row["row"]]
    return PlannedPrompt(np.array(row["input_ids"], np.int32), row["output_tokens"], row["seed"], **sparse)


def _read_stages(rows: Iterator[Any], inputs: Sequence[InputRow]) -> Iterator[StagePlan]:
    """A line is gone from memory once it is read: as JSON values, token ids take nine times what they take in arrays."""
    prompts: dict[tuple[str, bool], list[PlannedPrompt]] = {}
    asked: list[tuple[str, Stage, Offsets | None, Offsets | None, Offsets | None]] = []
    for row in rows:
        if "prompt" in row:
            prompts.setdefault((row["stage"], row["warmup"]), []).append(_read_prompt(row, inputs))
        if "asked" in row:
            offsets = (_array(row[key]) for key in ("warmup_offsets_ns", "due_offsets_ns", "users_ns"))
            asked.append((row["stage"], Stage.model_validate(row["asked"]), *offsets))
    for label, stage, warmup_ns, due_ns, users_ns in asked:
        measured, warmup = (tuple(prompts.pop((label, warm), [])) for warm in (False, True))
        yield StagePlan(stage, Phase(stage, True, warmup, len(measured), warmup_ns), Phase(stage, False, measured, 0, due_ns, users_ns))


def _array(offsets: Iterable[int] | None) -> Offsets | None:
    return None if offsets is None else np.array(list(offsets), np.int64)
