"""Facts of a deployment: deployment.json, which a run writes, and engine.json, which the build of the engine wrote.

Every fact is optional, because older runs and servers of other operators lack some. A fact of a wrong type is left out and noted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError

from trtbench.rundir.event_kinds import IF_KNOWN, BuildStep
from trtbench.rundir.lines import Losses, read_json

Tree = Mapping[str, object]
"""JSON that is shown and compared unchanged."""
Count = Annotated[int, Field(ge=-1, lt=2**53)]
Seconds = Annotated[int | float, Field(ge=0, lt=1e15)]


@dataclass(frozen=True, slots=True, kw_only=True)
class KvCacheConfig:
    prefix_caching: bool | None = None
    blocks: Count | None = None
    bytes: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SchedulerConfig:
    max_sequences: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicasConfig:
    balancer: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedConfig:
    """The keys of the deployment's configuration that the analysis reads."""

    max_batch_size: Count | None = None
    instances: Count | None = None
    inference_threads: Count | None = None
    kv_cache: KvCacheConfig | None = None
    scheduler: SchedulerConfig | None = None
    replicas: ReplicasConfig | None = None
    dynamic_batching: Tree | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LogShown:
    """The keys of a server's log facts that the report shows."""

    scheduler_policy: str | None = None
    engine_bytes: Count | None = None
    execution_context_bytes: Count | None = None
    kv_bytes: Count | None = None
    gpu_available_bytes: Count | None = None
    kv_tokens: Count | None = None
    max_sequences: Count | None = None
    max_step_tokens: Count | None = None
    max_input_tokens: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLimits:
    max_batch_size: Count | None = None
    max_seq_len: Count | None = None
    max_num_tokens: Count | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineOptions:
    limits: EngineLimits | None = None
    asked: Tree | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointFacts:
    """The HTTP endpoint of a server and the shape of the requests to it. `type` and `counts` are names of `client/openai/`; `asked` are the
    optional keys that every request has, `refused` those that the server did not accept, and why; `extra` are the user's own.
    """

    type: str | None = None
    path: str | None = None
    prompt: str | None = None
    counts: str | None = None
    asked: Sequence[str] | None = None
    refused: Mapping[str, str] | None = None
    extra: Tree | None = None
    system_prompt: str | None = field(default=None, metadata=IF_KNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedClass:
    """A length class, and the `model` that serves it, or None where one model serves all classes. `upto_input_tokens` is the longest
    input of the class, or None for the last class, which has no bound.
    """

    name: str
    upto_input_tokens: Count | None = None
    model: str | None = None

    def takes(self, input_tokens: int) -> bool:
        """Whether an input is not too long for the class. A request belongs to the first class of which this is true."""
        return self.upto_input_tokens is None or input_tokens <= self.upto_input_tokens


Shape = TypeVar("Shape")
_READERS: dict[type[object], TypeAdapter[Any]] = {}
"""Validators by type, made when the first file is read: making one takes longer than reading a small run."""


def _shaped(shape: type[Shape], tree: Tree) -> Shape:
    """Read a tree as a dataclass, through JSON text, because pydantic's strict mode then accepts objects for dataclasses."""
    if shape not in _READERS:
        _READERS[shape] = TypeAdapter(shape)
    read: Shape = _READERS[shape].validate_json(json.dumps(tree), strict=True)
    return read


def _checked(shape: type[object]) -> AfterValidator:
    """A validator of a tree: ValueError unless the keys that are read have their types."""

    def check(tree: Tree) -> Tree:
        _shaped(shape, tree)
        return tree

    return AfterValidator(check)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentFile:
    """deployment.json. `config`: the requested configuration. `log`: what the server reported while it loaded. `tokens`: how tokens are
    counted. `unanswered_calls`: calls that the server did not answer, with the reason. `decoupled`: whether a request gets several
    responses, where its task does not say it. `length_classes`: from the shortest inputs to the longest. Fields are in the order in which
    they are written.
    """

    kv_blocks: Count | None = field(default=None, metadata=IF_KNOWN)
    kv_dtype: str | None = field(default=None, metadata=IF_KNOWN)
    kv_block_tokens: Count | None = field(default=None, metadata=IF_KNOWN)
    kv_bytes_per_token: Count | None = field(default=None, metadata=IF_KNOWN)
    name: str | None = None
    deployment: str | None = field(default=None, metadata=IF_KNOWN)
    mode: str | None = None
    url: str | None = field(default=None, metadata=IF_KNOWN)
    dtype: str | None = field(default=None, metadata=IF_KNOWN)
    provider: str | None = field(default=None, metadata=IF_KNOWN)
    model_name: str | None = None
    model_version: str | None = None
    config: Annotated[Tree, _checked(ServedConfig)] | None = field(default=None, metadata=IF_KNOWN)
    max_batch_size: Count | None = None
    max_positions: Count | None = field(default=None, metadata=IF_KNOWN)
    longest_prompt_tokens: Count | None = field(default=None, metadata=IF_KNOWN)
    triton_version: str | None = None
    server_name: str | None = field(default=None, metadata=IF_KNOWN)
    server_flags: Sequence[str] | None = field(default=None, metadata=IF_KNOWN)
    load_seconds: Seconds | None = field(default=None, metadata=IF_KNOWN)
    log: Annotated[Tree, _checked(LogShown)] | None = field(default=None, metadata=IF_KNOWN)
    servers: Count | None = field(default=None, metadata=IF_KNOWN)
    balancer_version: str | None = field(default=None, metadata=IF_KNOWN)
    unanswered_calls: Mapping[str, str] | None = field(default=None, metadata=IF_KNOWN)
    endpoint: EndpointFacts | None = field(default=None, metadata=IF_KNOWN)
    traits: Mapping[str, bool] | None = field(default=None, metadata=IF_KNOWN)
    decoupled: bool | None = field(default=None, metadata=IF_KNOWN)
    length_classes: Sequence[ServedClass] | None = field(default=None, metadata=IF_KNOWN)
    plan_sha256: str | None = None
    tokens: Tree | None = None
    padded_to_tokens: Count | None = None

    @property
    def served(self) -> ServedConfig:
        return _shaped(ServedConfig, self.config or {})


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFile:
    """engine.json. Fields are in the order in which they are written. `tree` is the whole file as it was read, and is not written."""

    model: str | None = None
    dtype: str | None = None
    provider: str | None = None
    provider_versions: Tree | None = None
    model_facts: Tree | None = None
    weights_dtype: str | None = None
    kv_block_tokens: Count | None = None
    checkpoint_sha256: str | None = None
    options: Annotated[Tree, _checked(EngineOptions)] | None = None
    sha256: str | None = None
    size_bytes: Count | None = None
    build_steps: Sequence[BuildStep] | None = None
    built_utc: str | None = None
    kv_dtype: str | None = None
    tree: Tree | None = field(default=None, metadata=IF_KNOWN)


def read_deployment(path: Path, losses: Losses) -> DeploymentFile:
    return _shaped(DeploymentFile, _without_wrong(path, DeploymentFile, losses))


def read_engine(path: Path, losses: Losses) -> EngineFile:
    tree = _without_wrong(path, EngineFile, losses)
    return _shaped(EngineFile, {**tree, "tree": tree})


def _without_wrong(path: Path, shape: type[object], losses: Losses) -> Tree:
    """A JSON object without the keys of a wrong type. Empty if there is no file, and empty with a note if the file holds no object."""
    try:
        value = read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        losses.note(path, "unreadable", 1, error)
        return {}
    if not isinstance(value, dict):
        losses.note(path, "unreadable", 1, "not a JSON object")
        return {}
    try:
        _shaped(shape, value)
    except ValidationError as error:
        wrong = sorted({str(one["loc"][0]) for one in error.errors(include_url=False, include_input=False) if one["loc"]})
        losses.note(path, "values", len(wrong), ", ".join(wrong))
        return {key: fact for key, fact in value.items() if key not in wrong}
    return value
