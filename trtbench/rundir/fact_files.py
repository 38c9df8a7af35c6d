"""Reads deployment.json and engine.json: what analysis and report take for granted of their keys is checked here.

A key of another type is left out and noted; keys that are not listed stay as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from trtbench.rundir.lines import read_json
from trtbench.rundir.losses import Losses

Count = Annotated[int, Field(ge=-1, lt=2**53)]
Number = Annotated[float, Field(allow_inf_nan=False, ge=0, lt=1e15)]


class _Facts(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow", defer_build=True)


class _Config(_Facts):
    max_batch_size: Count | None = None
    instances: Count | None = None
    inference_threads: Count | None = None
    kv_cache: dict[str, Any] | None = None
    scheduler: dict[str, Any] | None = None
    replicas: dict[str, Any] | None = None
    dynamic_batching: dict[str, Any] | None = None


class _Log(_Facts):
    scheduler_policy: str | None = None
    engine_bytes: Count | None = None
    execution_context_bytes: Count | None = None
    kv_bytes: Count | None = None
    gpu_available_bytes: Count | None = None
    kv_tokens: Count | None = None
    max_sequences: Count | None = None
    max_step_tokens: Count | None = None
    max_input_tokens: Count | None = None


class _Deployment(_Facts):
    deployment: str | None = None
    dtype: str | None = None
    mode: str | None = None
    provider: str | None = None
    model_name: str | None = None
    model_version: str | None = None
    config: _Config | None = None
    max_batch_size: Count | None = None
    kv_blocks: Count | None = None
    kv_dtype: str | None = None
    kv_block_tokens: Count | None = None
    kv_bytes_per_token: Count | None = None
    plan_sha256: str | None = None
    triton_version: str | None = None
    server_flags: list[str] | None = None
    load_seconds: Number | None = None
    servers: Count | None = None
    balancer_version: str | None = None
    padded_to_tokens: Count | None = None
    unanswered_calls: dict[str, str] | None = None
    traits: dict[str, bool] | None = None
    log: _Log | None = None
    tokens: dict[str, Any] | None = None


class _Step(_Facts):
    seconds: Number


class _Limits(_Facts):
    max_batch_size: Count | None = None
    max_seq_len: Count | None = None
    max_num_tokens: Count | None = None


class _Options(_Facts):
    limits: _Limits | None = None
    asked: dict[str, Any] | None = None


class _Engine(_Facts):
    model: str | None = None
    dtype: str | None = None
    provider: str | None = None
    sha256: str | None = None
    size_bytes: Count | None = None
    weights_dtype: str | None = None
    kv_dtype: str | None = None
    kv_block_tokens: Count | None = None
    build_steps: list[_Step] | None = None
    options: _Options | None = None


_SHAPES: dict[str, type[_Facts]] = {"deployment.json": _Deployment, "engine.json": _Engine}


def read_facts(path: Path, losses: Losses) -> dict[str, Any]:
    """A JSON object without the keys of a wrong type; empty, and noted, where the file holds none, and empty where there is no file."""
    try:
        value = read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        losses.note(path, "unreadable", 1, error)
        return {}
    if not isinstance(value, dict):
        losses.note(path, "unreadable", 1, "no JSON object")
        return {}
    try:
        _SHAPES.get(path.name, _Facts).model_validate(value)
    except ValidationError as error:
        wrong = sorted({str(one["loc"][0]) for one in error.errors(include_url=False, include_input=False)})
        losses.note(path, "values", len(wrong), ", ".join(wrong))
        return {key: fact for key, fact in value.items() if key not in wrong}
    return value
