"""A finished engine, adopted into the cache after checking it: links to its files, and trtbench's engine.json. It needs no GPU."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from trtbench.engine.checkpoint import file_sha256
from trtbench.engine.checkpoint_files import parameter_count
from trtbench.engine.spec import ENGINE_JSON, BuildJob, BuildLog, BuiltFacts, Engine, EngineError, EngineForecast, EngineSpec, ModelFacts
from trtbench.engine.tensorrt_llm.engine import TrtLlmEngine, differences, of_files, read_engine
from trtbench.engine.tensorrt_llm.versions import installed
from trtbench.rundir.traits import Traits
from trtbench.tasks.generate import GENERATE

_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model", "chat_template.jinja")


ONE_INSTANCE = "it has one instance a server"
ON_GPU = "it computes on GPUs, its CPU threads are not set"


class AdoptedEngine:
    """The provider of one finished engine; it builds nothing."""

    name = "tensorrt_llm"
    tasks = (GENERATE.name,)
    traits = Traits(
        triton_batches_are_one=True,  # the C++ backend takes one request after the other from Triton
        uses_gpus=True,
        kv_takes_free_memory=True,
        builds_per_scheduler_limits=True,
        build_limits_hold=True,
    )
    fixed_axes: Mapping[str, str] = {"instances": ONE_INSTANCE, "inference_threads": ON_GPU}

    def __init__(self, directory: Path) -> None:
        self.engine = read_engine(directory.resolve())
        self.kv_block_tokens = self.engine.kv_block_tokens
        self._directory = directory

    def unavailable(self) -> str | None:
        return None

    def refusal(self, spec: EngineSpec) -> str | None:
        if spec.provider not in ("auto", self.name):
            return f"build.engine_dir is a TensorRT-LLM engine, provider is {spec.provider}: leave one of them out"
        return None

    def shortage(self, spec: EngineSpec) -> str | None:
        return None

    def forecast(self, spec: EngineSpec) -> EngineForecast:
        engine = self.engine
        return EngineForecast(
            tp=engine.tp,
            pp=engine.pp,
            ranks=engine.world_size,
            rank_bytes=max(engine.rank_bytes.values(), default=0) + engine.managed_bytes // engine.world_size,
            kv_dtype=engine.kv_dtype,
            no_paged_context=None if engine.paged_context_fmha else f"the engine in {self._directory}, built without paged context FMHA",
        )

    def versions(self) -> dict[str, str]:
        return {"tensorrt_llm": self.engine.version}

    def content(self, spec: EngineSpec) -> dict[str, Any]:
        """The engine's bytes, so that another engine in the same place counts as another engine."""
        return {"files": {file.name: file_sha256(file) for file in self.engine.files}}

    def build(self, job: BuildJob, log: BuildLog) -> BuiltFacts:
        """Log no step, because the duration of the build is unknown."""
        facts = finished(self.engine, job)
        for file in self.engine.files:
            (job.output / file.name).symlink_to(file)
        copy_tokenizer(job.checkpoint, job.output)
        return BuiltFacts(**(vars(facts) | {"options": facts.options | {"adopted_from": str(self.engine.path)}}))


def describe(directory: Path) -> Engine:
    """The engine that an external server is said to serve, from the engine's files; EngineError if it is not an engine or is incomplete."""
    claimed = {"claimed_from": str(directory.resolve())}
    if (directory / ENGINE_JSON).is_file():
        own = Engine.load(directory)
        return replace(own, options=own.options | claimed)
    found = read_engine(directory.resolve())
    if found.dtype is None:
        raise EngineError(f"{directory} is quantised as {found.algorithm or found.compute}, which trtbench has no name for; leave it out")
    if wrong := list(of_files(found, found.dtype, None)):
        raise EngineError(f"the engine in {directory} is not whole: {'; '.join(wrong)}; name the whole one, or leave it out")
    positions = found.limits["max_seq_len"] or -1
    digest = hashlib.sha256("".join(file_sha256(file) for file in found.files).encode()).hexdigest()
    facts = ModelFacts(found.layers, found.kv_heads, found.head_dim, positions, found.vocabulary_tokens, eos_token_id=-1)
    return Engine(
        path=found.path,
        model=found.path.name,
        dtype=found.dtype,
        provider=AdoptedEngine.name,
        provider_versions={"tensorrt_llm": found.version},
        model_facts=facts,
        weights_dtype=found.weights_dtype,
        kv_block_tokens=found.kv_block_tokens,
        checkpoint_sha256="",
        options=options_of(found) | claimed,
        sha256=digest,
        size_bytes=found.size_bytes,
        build_steps=(),
        built_utc="",
        kv_dtype=found.kv_dtype,
    )


def finished(engine: TrtLlmEngine, job: BuildJob) -> BuiltFacts:
    """The facts of `engine`; EngineError naming everything in which it differs from what the job requests."""
    runtime = installed()
    wrong = differences(engine, job.spec, job.facts, parameter_count(job.checkpoint), runtime.text if runtime else None)
    if wrong:
        listed = "".join(f"\n  - {one}" for one in wrong)
        remedy = "request an engine with its properties, or build the engine again"
        raise EngineError(f"the engine in {engine.path} is not the requested one:{listed}\n{remedy}")
    return BuiltFacts(engine.weights_dtype, engine.kv_block_tokens, engine.kv_dtype, options_of(engine), engine.size_bytes)


def options_of(engine: TrtLlmEngine) -> dict[str, Any]:
    """The options it was built with, for engine.json."""
    return {
        "limits": engine.limits,
        "tp": engine.tp,
        "pp": engine.pp,
        "architecture": engine.architecture,
        "compute_dtype": engine.compute,
        "quant_algo": engine.algorithm,
        "kv_cache_quant_algo": engine.kv_algorithm,
        "paged_context_fmha": engine.paged_context_fmha,
        "plugins": engine.plugins,
        "rank_bytes": [engine.rank_bytes[rank] for rank in sorted(engine.rank_bytes)],
    }


def copy_tokenizer(checkpoint: Path, output: Path) -> None:
    """Copy the tokenizer, which the load generator and Triton's pre- and postprocessing read."""
    for name in _TOKENIZER_FILES:
        if (checkpoint / name).is_file() and not (output / name).exists():
            shutil.copyfile(checkpoint / name, output / name)
