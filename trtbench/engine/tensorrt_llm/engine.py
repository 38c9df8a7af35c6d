"""A finished TensorRT-LLM engine, read without a GPU: its configuration, and whether its files are complete."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtbench.engine.spec import EngineError, EngineSpec, ModelFacts
from trtbench.engine.tensorrt_llm.build_plan import LIMITS, engine_bytes
from trtbench.engine.tensorrt_llm.quantisation import dtype_of
from trtbench.engine.tensorrt_llm.versions import release
from trtbench.rundir.lines import read_json
from trtbench.scenario.parts.choices import Dtype

_RANK = re.compile(r"rank(\d+)\.engine")
_LEAST_SIZE_RATIO = 0.5  # of the weights: an engine that is far smaller was cut, or is another model's


@dataclass(frozen=True)
class TrtLlmEngine:
    """An engine, described by its config.json and the sizes of its files.

    `limits` has the max_* values of the build; `stripped` means that the weights are in another directory.

    `paged_context_fmha` decides whether KV blocks can be reused and prefill chunked.
    """

    path: Path
    version: str
    architecture: str
    compute: str
    algorithm: str | None
    kv_algorithm: str | None
    tp: int
    pp: int
    world_size: int
    layers: int
    kv_heads: int
    head_dim: int
    vocabulary_tokens: int
    limits: dict[str, int | None]
    kv_block_tokens: int
    paged_kv_cache: bool
    paged_context_fmha: bool
    stripped: bool
    plugins: dict[str, Any]
    rank_bytes: dict[int, int]
    managed_bytes: int

    @property
    def dtype(self) -> Dtype | None:
        return dtype_of(self.algorithm, self.compute)

    @property
    def weights_dtype(self) -> str:
        return {"int8-sq": "int8"}.get(self.dtype or "", self.dtype or (self.algorithm or self.compute).lower())

    @property
    def kv_dtype(self) -> str:
        return (self.kv_algorithm or {"bfloat16": "bf16", "float32": "fp32"}.get(self.compute, "fp16")).lower()

    @property
    def size_bytes(self) -> int:
        return sum(self.rank_bytes.values()) + self.managed_bytes

    @property
    def files(self) -> tuple[Path, ...]:
        """The files that a runtime reads."""
        names = [f"rank{rank}.engine" for rank in sorted(self.rank_bytes)]
        rest = sorted([*self.path.glob("rank*_managed_weights.safetensors"), *self.path.glob("quant_cfg.json")])
        return (self.path / "config.json", *(self.path / name for name in names), *rest)


def read_engine(path: Path) -> TrtLlmEngine:
    """Read an engine; EngineError if `path` is not an engine directory of TensorRT-LLM 0.9 or later."""
    try:
        config = read_json(path / "config.json")
        return _read(path, config["version"], config["pretrained_config"], config["build_config"])
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ZeroDivisionError) as error:
        raise EngineError(
            f"{path} is not a TensorRT-LLM engine directory: its config.json lacks what trtllm-build writes ({error!r}); "
            "name the directory that holds config.json and rank0.engine"
        ) from error


def _read(path: Path, version: str, model: dict[str, Any], build: dict[str, Any]) -> TrtLlmEngine:
    mapping, quantisation, plugins = model["mapping"], model.get("quantization") or {}, build["plugin_config"]
    ranks = {int(found[1]): file.stat().st_size for file in path.iterdir() if (found := _RANK.fullmatch(file.name))}
    heads = model["num_attention_heads"]
    numbers = [mapping["tp_size"], mapping["pp_size"], heads, model["num_hidden_layers"], model["vocab_size"], plugins["tokens_per_block"]]
    if not all(type(number) is int and number > 0 for number in numbers) or not all(map(_is_text, (version, model["dtype"]))):
        raise ValueError("a value of another type")
    return TrtLlmEngine(
        path=path,
        version=version,
        architecture=model["architecture"],
        compute=model["dtype"],
        algorithm=_algorithm(quantisation.get("quant_algo")),
        kv_algorithm=_algorithm(quantisation.get("kv_cache_quant_algo")),
        tp=mapping["tp_size"],
        pp=mapping["pp_size"],
        world_size=mapping.get("world_size") or mapping["tp_size"] * mapping["pp_size"],
        layers=model["num_hidden_layers"],
        kv_heads=model.get("num_key_value_heads") or heads,
        head_dim=model.get("head_size") or model["hidden_size"] // heads,
        vocabulary_tokens=model["vocab_size"],
        limits={name: build.get(name) for name in LIMITS},
        kv_block_tokens=plugins["tokens_per_block"],
        paged_kv_cache=str(build.get("kv_cache_type") or "PAGED").upper().endswith("PAGED"),
        paged_context_fmha=bool(plugins.get("use_paged_context_fmha")),
        stripped=bool(build.get("use_strip_plan")),
        plugins={name: value for name, value in plugins.items() if value not in (None, False)},
        rank_bytes=ranks,
        managed_bytes=sum(file.stat().st_size for file in path.glob("rank*_managed_weights.safetensors")),
    )


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _algorithm(value: Any) -> str | None:
    return None if value in (None, "NO_QUANT") else str(value)


def differences(engine: TrtLlmEngine, spec: EngineSpec, facts: ModelFacts, parameters: int | None, runtime: str | None) -> list[str]:
    """The reasons why `engine` is incomplete or does not match `spec`, the model or the TensorRT-LLM `runtime`; empty if it matches."""
    return [
        *of_files(engine, spec.dtype, parameters),
        *([f"built by TensorRT-LLM {engine.version}, {runtime} is installed: engines serve in their own version only"]
          if runtime and release(engine.version) != release(runtime) else []),
        *_of_model(engine, facts),
        *_of_spec(engine, spec),
    ]  # fmt: skip


def of_files(engine: TrtLlmEngine, dtype: Dtype, parameters: int | None) -> Iterator[str]:
    """The files that are missing, superfluous, empty or too small."""
    wanted = set(range(engine.world_size))
    if missing := sorted(wanted - set(engine.rank_bytes)):
        yield f"{', '.join(f'rank{rank}.engine' for rank in missing)} missing of {engine.world_size}"
    if extra := sorted(set(engine.rank_bytes) - wanted):
        yield f"{', '.join(f'rank{rank}.engine' for rank in extra)} beyond its {engine.world_size} ranks: files of two engines are mixed"
    if empty := [rank for rank, size in sorted(engine.rank_bytes.items()) if not size]:
        yield f"{', '.join(f'rank{rank}.engine' for rank in empty)} empty"
    elif parameters and not missing and not engine.stripped:
        expected = engine_bytes(parameters, dtype)
        if engine.size_bytes < _LEAST_SIZE_RATIO * expected:
            yield f"{engine.size_bytes} bytes in all, the model's {dtype} weights alone are about {expected}: cut, or another model's"


def _of_model(engine: TrtLlmEngine, facts: ModelFacts) -> Iterator[str]:
    for name in ("layers", "kv_heads", "head_dim", "vocabulary_tokens"):
        here, there = getattr(engine, name), getattr(facts, name)
        if here != there:
            yield f"{name} {here}, the model has {there}"


def _of_spec(engine: TrtLlmEngine, spec: EngineSpec) -> Iterator[str]:
    options = spec.build
    if engine.dtype != spec.dtype:
        yield f"quantised as {engine.algorithm or engine.compute} ({engine.dtype or 'no name here'}), asked is {spec.dtype}"
    if options.kv_dtype != "auto" and engine.kv_dtype != options.kv_dtype:
        yield f"kv_dtype {engine.kv_dtype}, asked is {options.kv_dtype}"
    if not engine.paged_kv_cache:
        yield "no paged KV cache: in-flight batching needs one (--kv_cache_type paged)"
    for name, asked in (("tp", options.tp), ("pp", options.pp)):
        if name in options.asked and getattr(engine, name) != asked:
            yield f"{name} {getattr(engine, name)}, asked is {asked}"
    for name in LIMITS:
        asked, there = getattr(options, name), engine.limits[name]
        if asked is not None and there is not None and there < asked:
            yield f"{name} {there}, asked is {asked}"
    if options.kv_block_tokens and engine.kv_block_tokens != options.kv_block_tokens:
        yield f"kv_block_tokens {engine.kv_block_tokens}, asked is {options.kv_block_tokens}"
    if options.paged_context_fmha is not None and engine.paged_context_fmha != options.paged_context_fmha:
        yield f"paged_context_fmha {engine.paged_context_fmha}, asked is {options.paged_context_fmha}"
