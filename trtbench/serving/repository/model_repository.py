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
    """A model to be written. `source` is the directory of its Python files, `files` are further text files of the version by name, and
    `links` are files of the engine."""

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
    """Write a version directory that does not change later: a server that polls would load it again if bytecode were written into it.

    The Python stub ignores PYTHONDONTWRITEBYTECODE, so a file takes the place of the directory for bytecode.
    """
    shutil.copytree(source, version, ignore=shutil.ignore_patterns("__pycache__"))
    (version / "__pycache__").write_text("A file, so that no bytecode is written here (trtbench).\n", encoding="utf-8")
    for name, text in files.items():
        (version / name).write_text(text, encoding="utf-8")


SHARED_FILES = ("metrics.py", "processor.py", "tensors.py")
"""Files of the decoders' model that the encoders' model uses too."""
_CPU_KV_DTYPES = {"auto": "fp16", "fp16": "fp16", "int8": "int8"}


@dataclass(frozen=True)
class KvBudget:
    """The KV cache of a deployment. `bytes_per_token` follows from the model (metrics.md). `blocks` is None if only the loaded server
    determines it."""

    blocks: int | None
    block_tokens: int
    dtype: str
    bytes_per_token: int
    blocks_per_request: int  # of the workload's longest request

    @property
    def tokens(self) -> int | None:
        return None if self.blocks is None else self.blocks * self.block_tokens

    @property
    def bytes(self) -> int | None:
        return None if self.tokens is None else self.tokens * self.bytes_per_token

    def fitting(self) -> KvBudget:
        """This budget; ScenarioError if not even one request fits."""
        if self.blocks is not None and self.blocks < self.blocks_per_request:
            raise ScenarioError(
                f"kv_cache budget of {self.blocks} blocks ({self.tokens} tokens) is under one request of the workload "
                f"({self.blocks_per_request} blocks): raise kv_cache.blocks to at least {self.blocks_per_request} or shorten the workload"
            )
        return self


@dataclass(frozen=True)
class RenderedRepository:
    """A repository to be written: `config` is the config.pbtxt, `source` the directory of the model's Python files.

    A client sends to `model_name`, or to `models_of_classes`, which has the model of each length class; `others` are further models.
    `files` are text files of its version by name, `links` are files elsewhere. `config_file` is the file of the configuration, or None if
    there is none. `served` is the deployment with the values that the engine determines, or None if it determines none. `kv` is None for
    an encoder. `positions` and `longest_prompt_tokens` are what the engine was built for, or None if only the model's positions bound them.
    """

    model_name: str
    config: str
    source: Path
    kv: KvBudget | None
    server_flags: tuple[str, ...] = ("--disable-auto-complete-config",)  # completing a config would start the stub
    files: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, Path] = field(default_factory=dict)
    others: tuple[RenderedModel, ...] = ()
    launch: Launch = DIRECT
    served: Deployment | None = None
    positions: int | None = None
    longest_prompt_tokens: int | None = None
    config_file: str | None = "config.pbtxt"
    models_of_classes: Mapping[str, str] = field(default_factory=dict)

    def write(self, directory: Path) -> Path:
        for model in (RenderedModel(self.model_name, self.config, self.source, self.files, self.links), *self.others):
            model.write(directory)
        return directory


def render(engine: Engine, deployment: Deployment, workload: Workload) -> RenderedRepository:
    """The repository of `engine` for `deployment`; ScenarioError if the two do not fit."""
    if engine.model_facts.image_shape:
        return _classifier_repository(engine, deployment)
    if not TASKS[engine.model_facts.task].has_kv_cache:
        check_inputs(engine.model_facts, workload)
        return _encoder_repository(engine, deployment)
    return _decoder_repository(engine, deployment, kv_budget(engine.model_facts, engine.kv_block_tokens, deployment, workload))


def _encoder_repository(engine: Engine, deployment: Deployment) -> RenderedRepository:
    template = packaged_data.MODEL_REPO / f"encoder-{engine.provider}"
    parameters = {**_common_parameters(engine, deployment), "embedding_values": engine.model_facts.embedding_values}
    config = rendered_config(template, engine.model, deployment, parameters)
    return RenderedRepository(engine.model, config, template / MODEL_VERSION, None, files=_shared_files(engine))


def _classifier_repository(engine: Engine, deployment: Deployment) -> RenderedRepository:
    template, facts = packaged_data.MODEL_REPO / f"classifier-{engine.provider}", engine.model_facts
    shape = {"image_shape": ", ".join(map(str, facts.image_shape)), "labels": facts.labels}
    config = rendered_config(template, engine.model, deployment, {**_common_parameters(engine, deployment), **shape})
    return RenderedRepository(engine.model, config, template / MODEL_VERSION, None, files=_shared_files(engine))


def _shared_files(engine: Engine) -> dict[str, str]:
    decoders = packaged_data.MODEL_REPO / engine.provider / MODEL_VERSION
    return {name: (decoders / name).read_text(encoding="utf-8") for name in SHARED_FILES}


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
    """ScenarioError if an input is longer than an encoder reads. Encoders generate nothing, so only the input counts. A model that takes
    pictures reads no tokens."""
    if facts.image_shape:
        if workload.sessions:
            raise ScenarioError("workload.sessions: an image classifier keeps no state of sequences: leave it out")
        return
    longest = max(kind.longest_prompt_tokens for kind in workload.kinds.values())
    if longest > facts.max_positions:
        raise ScenarioError(
            f"workload.input_tokens = {longest} is over the model's {facts.max_positions} positions: shorten it, or the bounds of a dataset"
        )


def kv_budget(facts: ModelFacts, block_tokens: int, deployment: Deployment, workload: Workload) -> KvBudget:
    """The deployment's KV cache, by default for all sequences of the scheduler; ScenarioError if not even one request fits."""
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
    """ScenarioError if the workload's longest request has more tokens than `positions`."""
    longest = workload.longest_request_tokens
    if longest > positions:
        raise ScenarioError(
            f"workload.input_tokens + workload.output_tokens = {longest} is over {of} {positions} positions: "
            "shorten one of them, or what comes on top: the prefix, a session's turns, the bounds of a dataset"
        )


def default_inference_threads() -> int:
    """All cores except one, which is for the client."""
    return max(1, len(os.sched_getaffinity(0)) - 1)


def pbtxt_string(value: object) -> str:
    """A value for a protobuf text string: booleans in lower case; quotes, backslashes and control characters escaped."""
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return "".join(char if char.isprintable() else "".join(f"\\{byte:03o}" for byte in char.encode()) for char in text)
