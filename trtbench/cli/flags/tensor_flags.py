"""Flags of `trtbench bench --task infer`, as perf_analyzer names them: data, shapes, batch size, sequences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from trtbench.cli.flags.values import whole_number
from trtbench.errors import UserError
from trtbench.system.foreign_text import shown
from trtbench.tasks.registry import TASKS


def with_input_file(flags: Mapping[str, Any]) -> Mapping[str, Any]:
    """`flags` with --input-data as --input-file where requests carry prompts. UserError for flags that only tensors have."""
    if TASKS[flags["task"]].sends_tensors:
        if flags["input_file"] is not None:
            raise UserError(f"--input-file {flags['input_file']}: holds prompts or a trace; with --task {flags['task']} give --input-data")
        return flags
    if flags["shape"]:
        raise UserError("--shape: leave it out: the tensors are known; --isl is the length of the prompt")
    if flags["batch_size"] != 1:
        raise UserError(f"--batch-size {flags['batch_size']}: a request carries one prompt; --concurrency says how many are in flight")
    if flags["layout"] is not None:
        raise UserError("--layout: is that of pictures of --task infer: leave it out")
    if flags["sequence_length"] is not None:
        raise UserError("--sequence-length: conversations are part of a scenario: workload.sessions with trtbench serve-and-bench")
    data = flags["input_data"]
    return flags if data is None or str(data) == "random" else {**flags, "input_file": data}


def tensors_of(flags: Mapping[str, Any]) -> dict[str, Any]:
    """Keys of a scenario's `workload`; none where requests carry prompts."""
    if not TASKS[flags["task"]].sends_tensors:
        return {}
    turns = flags["sequence_length"]
    tensors = {
        "data": str(flags["input_data"] or "random"),
        "shapes": _shapes(flags["shape"]),
        "batch_size": flags["batch_size"],
        "largest_integer": flags["integer_max"],
        "string_bytes": flags["string_length"],
        "layout": flags["layout"],
    }
    return {"tensors": tensors, "sessions": None if turns is None else {"turns": turns}}


def _shapes(given: Sequence[str]) -> dict[str, list[int]]:
    """NAME:1,3,224,224 of each --shape; a name may have colons."""
    shapes: dict[str, list[int]] = {}
    for text in given:
        name, colon, sizes = text.rpartition(":")
        if not colon or not name:
            raise UserError(f"--shape {shown(text, 60)}: write NAME:SIZE,SIZE,..., as IMAGE:3,224,224")
        if name in shapes:
            raise UserError(f"--shape {shown(text, 60)}: duplicate shape of {shown(name, 40)}; give one")
        shapes[name] = [whole_number("--shape", part, text) for part in sizes.split(",")]
    return shapes
