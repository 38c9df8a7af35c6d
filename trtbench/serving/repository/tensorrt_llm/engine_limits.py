"""What a TensorRT-LLM engine was built for: values of its config.json that no deployment can change."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtbench.engine.spec import EngineError
from trtbench.rundir.lines import read_json
from trtbench.scenario.deployment.build_options import BuildOptions
from trtbench.scenario.parts.choices import Dtype

CONFIG_JSON = "config.json"

_MAX_BATCH_SIZE, _MAX_NUM_TOKENS = 2048, 8192  # defaults of BuildConfig and of trtllm-build, 0.19 to 1.2
KV_BLOCK_TOKENS = 32
"""TensorRT-LLM's default of tokens_per_block."""
_KV_DTYPES = {"INT8": "int8", "FP8": "fp8"}
_DTYPES = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}


@dataclass(frozen=True)
class EngineLimits:
    """The limits of an engine. `kv_dtype` is named as in metrics.md. KV reuse and chunked context require `paged_context_fmha`."""

    max_batch_size: int
    max_num_tokens: int
    max_seq_len: int
    max_beam_width: int
    world_size: int
    kv_dtype: str
    paged_context_fmha: bool
    weight_streaming: bool

    @classmethod
    def read(cls, engine: Path) -> EngineLimits:
        """The limits of a built engine; EngineError if `engine` has no config.json of a TensorRT-LLM engine."""
        try:
            return _limits(read_json(engine / CONFIG_JSON))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
            raise EngineError(
                f"{engine / CONFIG_JSON} is not a TensorRT-LLM engine's ({type(error).__name__}: {error}): build the engine again"
            ) from error

    @classmethod
    def foreseen(cls, build: BuildOptions, dtype: Dtype, positions: int) -> EngineLimits:
        """The limits of an engine that is not built yet. `positions` are the model's."""
        kv_dtype = build.kv_dtype if build.kv_dtype != "auto" else "bf16" if dtype == "bf16" else "fp16"
        return cls(
            max_batch_size=build.max_batch_size or _MAX_BATCH_SIZE,
            max_num_tokens=build.max_num_tokens or _MAX_NUM_TOKENS,
            max_seq_len=build.max_seq_len or positions,
            max_beam_width=1,
            world_size=build.ranks,
            kv_dtype=kv_dtype,
            paged_context_fmha=build.kv_dtype == "auto" and build.paged_context_fmha is not False,
            weight_streaming=False,
        )

    def longest_prompt_tokens(self, chunked_context: bool) -> int:
        """The longest prompt that the engine accepts: as many tokens as a step has, unless a prompt may be split over several steps."""
        positions = self.max_seq_len - 1
        return positions if chunked_context else min(positions, self.max_num_tokens)


def _limits(config: dict[str, Any]) -> EngineLimits:
    build, model = config["build_config"], config["pretrained_config"]
    plugins = build.get("plugin_config") or {}
    quantization = model.get("quantization") or {}
    kv_algorithm = quantization.get("kv_cache_quant_algo")
    kv_algorithm = None if kv_algorithm == "NO_QUANT" else kv_algorithm
    return EngineLimits(
        max_batch_size=int(build["max_batch_size"]),
        max_num_tokens=int(build["max_num_tokens"]),
        max_seq_len=int(build["max_seq_len"]),
        max_beam_width=int(build.get("max_beam_width", 1)),
        world_size=int((model.get("mapping") or {}).get("world_size", 1)),
        kv_dtype=_KV_DTYPES[kv_algorithm] if kv_algorithm else _DTYPES[model["dtype"]],
        paged_context_fmha=bool(plugins.get("use_paged_context_fmha")) and kv_algorithm != "INT8",
        weight_streaming=bool(build.get("weight_streaming")),
    )
