"""A Scenario: what is asked, from YAML, validated and frozen before anything is spent.

Every field's description is its documentation: `trtbench schema` prints it as JSON schema for editors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from trtbench.errors import UserError
from trtbench.override import apply_override

NAME_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
"""Names become directory and model names, so only letters, digits, '.', '_' and '-'."""

Dtype = Literal["fp16", "int8"]
ProviderName = Literal["auto", "openvino", "tensorrt_llm", "llmapi"]


class ScenarioError(UserError):
    """A scenario that cannot be run; the message names the key, the value and the remedy."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class Range(_Part):
    """A uniform integer range, both ends included."""

    min: int = Field(ge=1)
    max: int = Field(ge=1)

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if self.max < self.min:
            raise ValueError(f"max ({self.max}) is below min ({self.min})")
        return self


def _as_range(tokens: object) -> object:
    return {"min": tokens, "max": tokens} if isinstance(tokens, int) else tokens


Tokens = Annotated[Range, BeforeValidator(_as_range, json_schema_input_type=Range | int)]
"""A number of tokens, or {min, max} drawn uniformly; always a Range once read."""


class QueuePolicy(_Part):
    max_queue_size: int = Field(0, ge=0, description="Requests that may wait in Triton's queue; more are rejected. 0: no bound.")
    timeout_us: int = Field(0, ge=0, description="Longest wait in Triton's queue, microseconds. 0: no limit.")
    timeout_action: Literal["reject", "delay"] = Field("reject", description="What becomes of a request whose wait is over.")


class DynamicBatching(_Part):
    preferred_batch_sizes: tuple[Annotated[int, Field(ge=1)], ...] = Field((), description="Sizes that Triton's batcher waits for.")
    max_queue_delay_us: int = Field(0, ge=0, description="How long the batcher holds a request to make a batch, microseconds.")
    preserve_ordering: bool = Field(False, description="Responses leave in the order the requests came.")
    priority_levels: int = Field(0, ge=0, description="Number of priority levels; 0: one queue, no priorities.")
    default_priority_level: int = Field(0, ge=0, description="Level of a request that names none; 1 is the highest.")
    queue_policy: QueuePolicy = QueuePolicy()

    @model_validator(mode="after")
    def _priorities(self) -> DynamicBatching:
        if bool(self.priority_levels) != bool(self.default_priority_level) or self.default_priority_level > self.priority_levels:
            raise ValueError(
                f"default_priority_level ({self.default_priority_level}) must lie in 1..priority_levels ({self.priority_levels}); "
                "set both, or neither"
            )
        if self.preserve_ordering and self.priority_levels > 1:
            raise ValueError(f"preserve_ordering allows one priority level only, priority_levels is {self.priority_levels}")
        return self


class KvCache(_Part):
    blocks: int | None = Field(None, ge=1, description="KV cache budget in blocks. Give blocks or bytes; neither: the provider's default.")
    bytes: int | None = Field(None, ge=1, description="KV cache budget in bytes.")
    dtype: Literal["auto", "fp16", "int8", "fp8"] = Field("auto", description="Type of the cached keys and values; auto: fp16.")
    prefix_caching: bool = Field(False, description="Keep and reuse KV blocks of common prompt prefixes.")

    @model_validator(mode="after")
    def _one_budget(self) -> KvCache:
        if self.blocks and self.bytes:
            raise ValueError("give blocks or bytes, not both")
        return self


class Scheduler(_Part):
    max_sequences: int = Field(32, ge=1, description="Most requests in the engine's running batch (in-flight batching).")
    max_tokens_per_step: int = Field(1024, ge=1, description="Most tokens computed in one engine step.")
    chunked_prefill: bool = Field(True, description="Split a long prompt's prefill over several steps.")


class Deployment(_Part):
    """One named variant of how an engine is served."""

    max_batch_size: int = Field(8, ge=1, description="Largest batch that Triton's batcher forms.")
    dynamic_batching: DynamicBatching | None = Field(DynamicBatching(), description="Triton's dynamic batcher; null: off.")
    instances: int = Field(1, ge=1, description="Model instances.")
    kv_cache: KvCache = KvCache()
    scheduler: Scheduler = Scheduler()
    inference_threads: int | None = Field(
        None, ge=1, description="CPU threads of the engine; default: all cores but one, which is left to the client."
    )

    @model_validator(mode="after")
    def _preferred_fit(self) -> Deployment:
        preferred = self.dynamic_batching.preferred_batch_sizes if self.dynamic_batching else ()
        if preferred and max(preferred) > self.max_batch_size:
            raise ValueError(
                f"dynamic_batching.preferred_batch_sizes {list(preferred)} go over max_batch_size ({self.max_batch_size}): "
                "raise max_batch_size or drop the larger sizes"
            )
        return self


class Sampling(_Part):
    temperature: float = Field(0.0, ge=0, description="0: greedy decoding.")
    top_k: int = Field(0, ge=0, description="0: no bound.")
    top_p: float = Field(1.0, gt=0, le=1)


class Workload(_Part):
    input_tokens: Tokens = Field(Range(min=128, max=128), description="Prompt length in the engine's tokens, exact: a number or a range.")
    output_tokens: Tokens = Field(Range(min=32, max=32), description="Output length in tokens: a number or {min, max}, uniform.")
    ignore_eos: bool = Field(True, description="Generate exactly output_tokens, whatever the model would rather say.")
    languages: tuple[Literal["en", "zh"], ...] = Field(("en", "zh"), min_length=1, description="Languages of the bundled corpus.")
    distinct_prompts: int = Field(256, ge=1, description="Prompts drawn for a stage that ends by time; they are then used in turn.")
    streaming: bool = Field(True, description="Tokens as they are made; false: one response with all of them.")
    sampling: Sampling = Sampling()


class Stage(_Part):
    """One level of load, held until its count or its duration is reached; stages run one after another, with drain between."""

    name: Name | None = Field(None, description="Default: from mode and level, as in c16 or poisson-2.5.")
    mode: Literal["concurrency", "constant", "poisson", "gamma"] = Field(
        "concurrency", description="Closed loop of so many users, or an open loop of constant, Poisson or gamma arrivals."
    )
    concurrency: int | None = Field(None, ge=1, description="Users of the closed loop, each with one request in flight.")
    rate: float | None = Field(None, gt=0, description="Requests per second of the open loop.")
    burstiness: float | None = Field(
        None, gt=0, description="Shape of gamma arrivals, CV 1/sqrt(burstiness): 1 is Poisson, below it burstier, above it more even."
    )
    requests: int | None = Field(None, ge=1, description="End after so many requests.")
    duration_s: float | None = Field(None, gt=0, description="End after so many seconds; what is in flight is drained.")
    warmup_requests: int = Field(0, ge=0, description="Requests sent in the stage's own manner before it, kept out of the figures.")

    @model_validator(mode="after")
    def _consistent(self) -> Stage:
        given, other = ("concurrency", "rate") if self.mode == "concurrency" else ("rate", "concurrency")
        if getattr(self, given) is None:
            raise ValueError(f"mode {self.mode} needs {given}")
        if getattr(self, other) is not None:
            raise ValueError(f"mode {self.mode} takes {given}, not {other}")
        if (self.mode == "gamma") != (self.burstiness is not None):
            raise ValueError("burstiness goes with mode gamma, and mode gamma needs it")
        if self.requests is None and self.duration_s is None:
            raise ValueError("a stage needs requests, duration_s, or both (it ends at the first)")
        return self

    @property
    def level(self) -> float:
        """Users or requests per second."""
        return float(self.concurrency if self.mode == "concurrency" else self.rate)  # type: ignore[arg-type]

    @property
    def label(self) -> str:
        return self.name or (f"c{self.concurrency}" if self.mode == "concurrency" else f"{self.mode}-{self.rate:g}")


class Slo(_Part):
    """Limits that a request must keep for goodput, milliseconds; those left out do not count."""

    ttft_ms: float | None = Field(None, gt=0)
    itl_ms: float | None = Field(None, gt=0, description="On each gap between token responses.")
    tpot_ms: float | None = Field(None, gt=0)
    e2e_latency_ms: float | None = Field(None, gt=0)


class Telemetry(_Part):
    interval_ms: int = Field(250, ge=50, description="Time between samples of Triton, processes and GPU.")


class Seeds(_Part):
    """One seed a dimension, so that one thing changes at a time."""

    arrivals: int = 1
    lengths: int = 2
    prompts: int = 3
    sampling: int = 4


class Stop(_Part):
    error_ratio: float | None = Field(
        None, gt=0, le=1, description="End the deployment's load after a stage with a larger share of requests that did not complete."
    )
    timeout_s: float = Field(120.0, gt=0, description="A request's own time limit, from due.")
    drain_s: float = Field(30.0, ge=0, description="After an interrupt: longest wait for what is in flight.")


class Scenario(_Part):
    """What is asked. The run is engines x deployments, each under every stage of load."""

    name: Name
    purpose: str = Field("", description="One line: what this experiment is for.")
    model: str = Field("smollm2-135m", description="The demo's name, or a Hugging Face checkpoint directory.")
    provider: ProviderName = "auto"
    engines: tuple[Dtype, ...] = Field(("fp16",), min_length=1, description="Precisions to build and serve.")
    deployments: dict[Name, Deployment] = Field({"default": Deployment()}, min_length=1)
    workload: Workload = Workload()
    load: tuple[Stage, ...] = Field(min_length=1)
    slo: Slo = Slo()
    stop: Stop = Stop()
    telemetry: Telemetry = Telemetry()
    seeds: Seeds = Seeds()

    @model_validator(mode="after")
    def _unique(self) -> Scenario:
        for key, values in (("engines", self.engines), ("load", [stage.label for stage in self.load])):
            twice = {value for value in values if list(values).count(value) > 1}
            if twice:
                raise ValueError(f"{key}: {', '.join(sorted(twice))} stands twice; give each its own name")
        return self

    def dump(self) -> str:
        """The effective scenario, defaults filled in, as YAML that loads to the same Scenario."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False, allow_unicode=True)


def load_scenario(path: Path, overrides: Sequence[str] = ()) -> Scenario:
    """Read a scenario file and apply `key.path=value` overrides; ScenarioError on anything that does not hold."""
    try:
        tree = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ScenarioError(f"{path}: cannot be read ({error.strerror}); `trtbench scenarios` lists those that ship") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: not YAML: {error}") from error
    if not isinstance(tree, dict):
        raise ScenarioError(f"{path}: a scenario is a mapping with at least `name` and `load`")
    for override in overrides:
        apply_override(tree, override)
    return parse_scenario(tree, str(path))


def parse_scenario(tree: dict[str, Any], where: str) -> Scenario:
    try:
        return Scenario.model_validate(tree)
    except ValidationError as error:
        raise ScenarioError(_explain(error, where)) from error


def _explain(error: ValidationError, where: str) -> str:
    """One line a problem. pydantic calls a sequence with a bad item too short as well: said once is enough."""
    problems = error.errors()
    places = [problem["loc"] for problem in problems]
    lines = []
    for problem in problems:
        place = problem["loc"]
        if problem["type"] == "too_short" and any(other[: len(place)] == place and len(other) > len(place) for other in places):
            continue
        value = problem["input"]
        shown = "" if isinstance(value, (dict, BaseModel)) else f" = {value!r}"
        key = ".".join(map(str, place)) or "scenario"
        lines.append(f"{where}: {key}{shown}: {problem['msg'].removeprefix('Value error, ')}")
    return "\n".join(lines)
