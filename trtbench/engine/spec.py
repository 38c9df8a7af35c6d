"""EngineSpec (what to build), Engine (a built directory) and EngineProvider (the builder)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict, Field

from trtbench.errors import UserError
from trtbench.rundir.deployment_facts import EngineFile
from trtbench.rundir.event_kinds import BuildStep, as_json
from trtbench.rundir.lines import read_json, write_json
from trtbench.rundir.traits import Traits
from trtbench.scenario.deployment.build_options import BuildOptions
from trtbench.scenario.parts.choices import Dtype, ProviderName
from trtbench.system.clock import NS_PER_S, now_ns
from trtbench.tasks.embed import EMBED
from trtbench.tasks.generate import GENERATE
from trtbench.tasks.infer import INFER
from trtbench.tasks.task import TaskName

ENGINE_JSON = "engine.json"
BUILDING = ".building-"
"""The prefix, before the process id, of everything that a build keeps next to the final place of the engine. The next build removes
leftovers.
"""

_DTYPE_BYTES = {"fp32": 4, "fp16": 2, "bf16": 2, "int8": 1, "fp8": 1}


class EngineError(UserError):
    """An engine cannot be built or read; the message names the cause and the remedy."""


class EngineSpec(BaseModel):
    """What to build; one YAML file in engines/."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(description="The demo's name, or a Hugging Face checkpoint directory.")
    dtype: Dtype = "fp16"
    provider: ProviderName = "auto"
    build: BuildOptions = BuildOptions()


@dataclass(frozen=True)
class ModelFacts:
    """Facts of a model that KV accounting and prompts need, from its checkpoint's config.json. An end id of -1 means no end token.

    An encoder (task embed) keeps no keys and values, so it has 0 `kv_heads`; its answer has `embedding_values` values. An image classifier
    (task infer) takes pictures of `image_shape` (channels, height, width) in place of tokens; its answer has `labels` values.
    """

    layers: int
    kv_heads: int
    head_dim: int
    max_positions: int
    vocabulary_tokens: int
    eos_token_id: int
    task: TaskName = GENERATE.name  # engines built before there were encoders do not say
    embedding_values: int = 0
    image_shape: Sequence[int] = ()
    labels: int = 0

    @classmethod
    def of_encoder(cls, layers: int, head_dim: int, max_positions: int, vocabulary_tokens: int, embedding_values: int) -> ModelFacts:
        return cls(layers, 0, head_dim, max_positions, vocabulary_tokens, -1, EMBED.name, embedding_values)

    @classmethod
    def of_classifier(cls, layers: int, image_shape: Sequence[int], labels: int) -> ModelFacts:
        return cls(layers, 0, 0, 0, 0, -1, INFER.name, image_shape=tuple(image_shape), labels=labels)

    def kv_bytes_per_token(self, kv_dtype: str) -> int:
        """2 x layers x kv_heads x head_dim x bytes(kv dtype): keys and values of one token (metrics.md). EngineError for another type."""
        if kv_dtype not in _DTYPE_BYTES:
            raise EngineError(f"a KV cache in {kv_dtype}: only {', '.join(_DTYPE_BYTES)} can be counted; take an engine with one of them")
        return 2 * self.layers * self.kv_heads * self.head_dim * _DTYPE_BYTES[kv_dtype]


@dataclass(frozen=True)
class Engine:
    """A built engine directory and the facts of its `engine.json`.

    `kv_block_tokens` is the block size of the paged KV cache, 0 for an encoder. `size_bytes` counts weights and network, not the
    tokenizer. `kv_dtype` auto: the deployment determines it, not the engine.
    """

    path: Path
    model: str
    dtype: Dtype
    provider: str
    provider_versions: dict[str, str]
    model_facts: ModelFacts
    weights_dtype: str
    kv_block_tokens: int
    checkpoint_sha256: str
    options: dict[str, Any]
    sha256: str
    size_bytes: int
    build_steps: tuple[BuildStep, ...]
    built_utc: str
    kv_dtype: str = "auto"

    def facts(self) -> EngineFile:
        known = {one.name: getattr(self, one.name) for one in fields(self) if one.name not in ("path", "model_facts")}
        return EngineFile(**known, model_facts=asdict(self.model_facts))

    def save(self) -> None:
        write_json(self.path / ENGINE_JSON, as_json(self.facts()))

    @classmethod
    def load(cls, path: Path) -> Engine:
        """Read an engine directory; EngineError if it is not one."""
        try:
            facts = read_json(path / ENGINE_JSON)
            steps = tuple(BuildStep(**step) for step in facts.pop("build_steps"))
            return cls(path=path, build_steps=steps, model_facts=ModelFacts(**facts.pop("model_facts")), **facts)
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise EngineError(f"{path} is not an engine directory ({ENGINE_JSON}: {error}); build one with `trtbench build`") from error


class BuildLog:
    """The steps of a build with their seconds; `progress` is called with a step's label as it starts."""

    def __init__(self, progress: Callable[[str], None]) -> None:
        self.steps: list[BuildStep] = []
        self._progress = progress

    @contextmanager
    def step(self, label: str) -> Iterator[None]:
        self._progress(label)
        start_ns = now_ns()
        yield
        self.steps.append(BuildStep(label, round((now_ns() - start_ns) / NS_PER_S, 2)))


@dataclass(frozen=True)
class BuildJob:
    """A build to be done. `output`: an empty directory for the engine's files. `checkpoint_sha256`: of the files in `checkpoint`."""

    spec: EngineSpec
    checkpoint: Path
    checkpoint_sha256: str
    facts: ModelFacts
    output: Path


@dataclass(frozen=True)
class BuiltFacts:
    """The facts of a finished engine. `size_bytes` None: the size of the files in its directory."""

    weights_dtype: str
    kv_block_tokens: int
    kv_dtype: str = "auto"
    options: dict[str, Any] = field(default_factory=dict)
    size_bytes: int | None = None


@dataclass(frozen=True)
class BuildMemory:
    """The most memory that a build takes: `gpu_bytes` on each rank's GPU; `calibration_bytes` on all GPUs together, 0 without a
    calibration.

    `weights_bytes`: the weights of all ranks, which is the size of the engine.
    """

    weights_bytes: int
    host_bytes: int
    gpu_bytes: int
    calibration_bytes: int


@dataclass(frozen=True)
class EngineForecast:
    """What is known of an engine before it is built. `rank_bytes`: the weights of its largest rank; None if unknown.

    `kv_dtype` None: the deployment determines it. `no_paged_context`: why the engine would neither reuse KV blocks nor chunk its
    prefill, which would raise no error. `build`: None if nothing is built on a GPU, or if its memory is unknown.
    """

    tp: int = 1
    pp: int = 1
    ranks: int = 1
    rank_bytes: int | None = None
    kv_dtype: str | None = None
    no_paged_context: str | None = None
    build: BuildMemory | None = None


class EngineProvider(Protocol):
    """Builds engines of one kind. Implementations are listed in `engine/build.py`; `traits` has their differences in serving."""

    name: str
    kv_block_tokens: int
    traits: Traits
    fixed_axes: Mapping[str, str]
    """The axes of a grid or a scaling that change nothing for this provider, with the reason."""

    @property
    def tasks(self) -> tuple[TaskName, ...]:
        """The tasks whose models it builds."""

    def unavailable(self) -> str | None:
        """The reason why this provider cannot build here, in one sentence with the remedy; None if it can."""

    def refusal(self, spec: EngineSpec) -> str | None:
        """The reason why `spec` can never be built or served here, with the remedy; None if no reason is known."""

    def shortage(self, spec: EngineSpec) -> str | None:
        """The programs or memory that a build of `spec` lacks now, with the remedy. It is not asked about an engine that is in the
        cache.
        """

    def forecast(self, spec: EngineSpec) -> EngineForecast:
        """The engine of `spec` before it is built."""

    def versions(self) -> dict[str, str]:
        """The versions that determine what is built; part of the engine's hash."""

    def content(self, spec: EngineSpec) -> dict[str, Any]:
        """Everything else in `spec` that determines what is built; part of the engine's hash."""

    def build(self, job: BuildJob, log: BuildLog) -> BuiltFacts:
        """Write the engine's files, including tokenizer.json, into `job.output`; EngineError if it fails."""
