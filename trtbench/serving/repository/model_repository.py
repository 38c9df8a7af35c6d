"""A Triton model repository for one engine on one deployment: rendered, then written.

A RenderedModel is one model of it: its config.pbtxt and its first version, ready to be written.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import jinja2

from trtbench.engine.spec import Engine, ModelFacts
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.server.launch import DIRECT, Launch
from trtbench.system import packaged_data
from trtbench.tasks.registry import TASKS

MODEL_VERSION = "1"


@dataclass(frozen=True)
class RenderedModel:
    """`source`: the directory of its Python files. `files`: further text files of the version, by name. `links`: files of the engine."""

    name: str
    config: str
    source: Path
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, Path] = field(default_factory=dict)

    def write(self, directory: Path) -> None:
        version = directory / self.name / MODEL_VERSION
        write_version(version, self.source, self.files)
        for name, path in self.links.items():
            (version / name).symlink_to(path)
        (directory / self.name / "config.pbtxt").write_text(self.config, encoding="utf-8")


def write_version(version: Path, source: Path, files: Mapping[str, str]) -> None:
    """A version directory that stays as it is: a server that polls would load it again for the bytecode written beside the model.

    The Python stub heeds no PYTHONDONTWRITEBYTECODE, so a file stands where the bytecode would go.
    """
    shutil.copytree(source, version, ignore=shutil.ignore_patterns("__pycache__"))
    (version / "__pycache__").write_text("A file, so that no bytecode is written here (trtbench).\n", encoding="utf-8")
    for name, text in files.items():
        (version / name).write_text(text, encoding="utf-8")


SHARED_FILES = ("metrics.py", "processor.py", "tensors.py")
"""Of the decoders' model, which the encoders' takes too."""
_CPU_KV_DTYPES = {"auto": "fp16", "fp16": "fp16", "int8": "int8"}


@dataclass(frozen=True)
class KvBudget:
    """The KV cache of a deployment; `bytes_per_token` by theory (metrics.md). `blocks`: None until the loaded server tells."""

    blocks: int | None
    block_tokens: int
    dtype: str
    bytes_per_token: int
    blocks_per_request: int  # of the workload's longest

    @property
    def tokens(self) -> int | None:
        return None if self.blocks is None else self.blocks * self.block_tokens

    @property
    def bytes(self) -> int | None:
        return None if self.tokens is None else self.tokens * self.bytes_per_token

    def fitting(self) -> KvBudget:
        """Itself; ScenarioError when one request cannot fit."""
        if self.blocks is not None and self.blocks < self.blocks_per_request:
            raise ScenarioError(
                f"kv_cache budget of {self.blocks} blocks ({self.tokens} tokens) is under one request of the workload "
                f"({self.blocks_per_request} blocks): raise kv_cache.blocks to at least {self.blocks_per_request} or shorten the workload"
            )
        return self


@dataclass(frozen=True)
class RenderedRepository:
    """What will be written: `config` is the config.pbtxt, `source` the directory of the model's Python files.

    A client speaks to `model_name`; `others` are models that it needs. `files`: text files of its version, by name;
    `links`: what lies elsewhere.
    `served`: the deployment where what the engine decides stands in it; None where the scenario's own says it all. `kv`: None of an
    encoder. `positions`, `longest_prompt_tokens`: what the engine was built for; None where the model's positions alone bound both.
    """

    model_name: str
    config: str
    source: Path
    kv: KvBudget | None
    server_flags: tuple[str, ...] = ("--disable-auto-complete-config",)  # the config is complete: saves a start of the stub
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, Path] = field(default_factory=dict)
    others: tuple[RenderedModel, ...] = ()
    launch: Launch = DIRECT
    served: Deployment | None = None
    positions: int | None = None
    longest_prompt_tokens: int | None = None

    def write(self, directory: Path) -> Path:
        for model in (RenderedModel(self.model_name, self.config, self.source, self.files, self.links), *self.others):
            model.write(directory)
        return directory


def render(engine: Engine, deployment: Deployment, workload: Workload) -> RenderedRepository:
    """The repository of `engine` under `deployment`; ScenarioError when the two do not go together."""
    if not TASKS[engine.model_facts.task].has_kv_cache:
        check_inputs(engine.model_facts, workload)
        return _encoder_repository(engine, deployment)
    return _decoder_repository(engine, deployment, kv_budget(engine.model_facts, engine.kv_block_tokens, deployment, workload))


def _encoder_repository(engine: Engine, deployment: Deployment) -> RenderedRepository:
    template = packaged_data.MODEL_REPO / f"encoder-{engine.provider}"
    parameters = {**_common_parameters(engine, deployment), "embedding_values": engine.model_facts.embedding_values}
    config = rendered_config(template, engine.model, deployment, parameters)
    decoders = packaged_data.MODEL_REPO / engine.provider / MODEL_VERSION
    files = {name: (decoders / name).read_text(encoding="utf-8") for name in SHARED_FILES}
    return RenderedRepository(engine.model, config, template / MODEL_VERSION, None, files=files)


def _decoder_repository(engine: Engine, deployment: Deployment, kv: KvBudget) -> RenderedRepository:
    template = packaged_data.MODEL_REPO / engine.provider
    parameters = {
        **_common_parameters(engine, deployment),
        "kv_blocks": kv.blocks,
        "kv_dtype": kv.dtype,
        "block_tokens": kv.block_tokens,
        "prefix_caching": deployment.kv_cache.prefix_caching,
        "max_sequences": deployment.scheduler.max_sequences,
        "max_tokens_per_step": deployment.scheduler.max_tokens_per_step,
        "chunked_prefill": deployment.scheduler.chunked_prefill,
        "eos_token_id": engine.model_facts.eos_token_id,
    }
    config = rendered_config(template, engine.model, deployment, parameters)
    return RenderedRepository(engine.model, config, template / MODEL_VERSION, kv)


def _common_parameters(engine: Engine, deployment: Deployment) -> dict[str, object]:
    return {
        "engine_dir": str(engine.path),
        "inference_threads": deployment.inference_threads or default_inference_threads(),
        "max_positions": engine.model_facts.max_positions,
        "vocabulary_tokens": engine.model_facts.vocabulary_tokens,
    }


def rendered_config(template: Path, model_name: str, deployment: Deployment, parameters: dict[str, object]) -> str:
    environment = jinja2.Environment(  # noqa: S701 - protobuf text, not HTML; every free string goes through `pbtxt`
        loader=jinja2.FileSystemLoader([template, packaged_data.MODEL_REPO]),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["pbtxt"] = pbtxt_string
    return environment.get_template("config.pbtxt.j2").render(model_name=model_name, deployment=deployment, parameters=parameters)


def check_inputs(facts: ModelFacts, workload: Workload) -> None:
    """ScenarioError when an input is longer than an encoder reads; it has no output."""
    longest = max(kind.longest_prompt_tokens for kind in workload.kinds.values())
    if longest > facts.max_positions:
        raise ScenarioError(
            f"workload.input_tokens = {longest} is over the model's {facts.max_positions} positions: shorten it, or the bounds of a dataset"
        )


def kv_budget(facts: ModelFacts, block_tokens: int, deployment: Deployment, workload: Workload) -> KvBudget:
    """The deployment's KV cache, by default enough for all the scheduler's sequences; ScenarioError when one request cannot fit."""
    if deployment.kv_cache.dtype not in _CPU_KV_DTYPES:
        raise ScenarioError(f"kv_cache.dtype = {deployment.kv_cache.dtype!r}: the CPU engine has {', '.join(_CPU_KV_DTYPES)}")
    dtype = _CPU_KV_DTYPES[deployment.kv_cache.dtype]
    bytes_per_token = facts.kv_bytes_per_token(dtype)
    check_positions(workload, facts.max_positions)
    per_request = -(-workload.longest_request_tokens // block_tokens)
    if deployment.kv_cache.bytes:
        blocks = deployment.kv_cache.bytes // (bytes_per_token * block_tokens)
    else:
        blocks = deployment.kv_cache.blocks or per_request * deployment.scheduler.max_sequences
    return KvBudget(blocks, block_tokens, dtype, bytes_per_token, per_request).fitting()


def check_positions(workload: Workload, positions: int, of: str = "the model's") -> None:
    """ScenarioError when the workload's longest request goes over them."""
    longest = workload.longest_request_tokens
    if longest > positions:
        raise ScenarioError(
            f"workload.input_tokens + workload.output_tokens = {longest} is over {of} {positions} positions: "
            "shorten one of them, or what comes on top: the prefix, a session's turns, the bounds of a dataset"
        )


def default_inference_threads() -> int:
    """All cores but one, which is left to the client."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


def pbtxt_string(value: object) -> str:
    """A value inside a protobuf text string: booleans in lower case, quotes, backslashes and control characters escaped."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return "".join(char if char.isprintable() else "".join(f"\\{byte:03o}" for byte in char.encode()) for char in text)
