"""The options of an engine's build. An option that is left out has the provider's default; most options exist only for TensorRT-LLM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from trtbench.scenario.parts.bounds import BlockTokens, Count, Ranks, Sequence
from trtbench.scenario.parts.choices import BuildRoute, BuiltKvDtype, SmoothQuant
from trtbench.scenario.parts.part import Part

_SWITCH = ("enable", "disable")
_TYPES = ("auto", "float16", "bfloat16", "float32", "disable")
PLUGINS: dict[str, tuple[str, ...]] = {
    "gpt_attention_plugin": _TYPES,
    "gemm_plugin": (*_TYPES, "fp8"),
    "gemm_swiglu_plugin": ("fp8", "disable"),
    "low_latency_gemm_plugin": ("fp8", "disable"),
    "low_latency_gemm_swiglu_plugin": ("fp8", "disable"),
    "gemm_allreduce_plugin": ("float16", "bfloat16", "disable"),
    "moe_plugin": _TYPES,
    "nccl_plugin": _TYPES,
    "context_fmha": _SWITCH,
    "remove_input_padding": _SWITCH,
    "use_fp8_context_fmha": _SWITCH,
    "multiple_profiles": _SWITCH,
    "norm_quant_fusion": _SWITCH,
    "reduce_fusion": _SWITCH,
    "user_buffer": _SWITCH,
    "use_fused_mlp": _SWITCH,
    "pp_reduce_scatter": _SWITCH,
}
"""The plugin flags of trtllm-build that may be set, with their values: those of every TensorRT-LLM with which trtbench builds."""

_IN_FLIGHT = ("gpt_attention_plugin", "remove_input_padding")  # neither can be off for in-flight batching
_SWIGLU = ("gemm_swiglu_plugin", "low_latency_gemm_swiglu_plugin")
_OWN_KEYS = {"use_paged_context_fmha": "paged_context_fmha", "tokens_per_block": "kv_block_tokens"}
_NOT_CONTENT = {"workers", "engine_dir", "calibration_dir"}


class BuildOptions(Part):
    """Options of an engine's build; what is left out is the provider's default."""

    kv_dtype: BuiltKvDtype = Field("auto", description="Type of the KV cache that the engine is built for; auto: 16 bit.")
    max_batch_size: Count | None = Field(None, description="Most sequences that the engine runs at once.")
    max_input_len: Count | None = Field(None, description="Longest prompt, tokens. TensorRT-LLM ignores it with packed input.")
    max_seq_len: Sequence | None = Field(None, description="Longest prompt and output together, tokens.")
    max_num_tokens: Count | None = Field(None, description="Most tokens in one engine step.")
    tp: Ranks = Field(1, description="Tensor parallelism: GPUs that share each layer.")
    pp: Ranks = Field(1, description="Pipeline parallelism: groups of layers, a GPU (or tp of them) each.")
    kv_block_tokens: BlockTokens | None = Field(None, description="Tokens of a KV block, a power of two (tokens_per_block).")
    paged_context_fmha: bool | None = Field(None, description="Attention over the paged KV cache in prefill: KV reuse, chunked prefill.")
    plugins: dict[str, str] = Field({}, description=f"Other plugin flags of trtllm-build: {', '.join(PLUGINS)}.")
    workers: Ranks | None = Field(None, description="Ranks built at once; default: all.")
    dummy_weights: bool = Field(
        False,
        description="Build an engine with random weights, from config.json and the tokenizer: its speed is meaningful, its text is not.",
    )
    route: BuildRoute = Field("auto", description="auto: the LLM API for one GPU, trtllm-build for more.")
    smoothquant: SmoothQuant = Field("modelopt", description="int8-sq by ModelOpt, or by TensorRT-LLM's own plugins.")
    calibration_dir: Path | None = Field(None, description="Directory with train.jsonl, a text a line; default: trtbench's own texts.")
    calibration_samples: Count | None = Field(None, description="Texts to calibrate on; default: all of trtbench's, else 512.")
    engine_dir: Path | None = Field(None, description="Adopt this finished engine after checking it, and build nothing.")

    @property
    def ranks(self) -> int:
        return self.tp * self.pp

    @property
    def asked(self) -> dict[str, Any]:
        """The values that differ from the defaults, as JSON."""
        return self.model_dump(mode="json", exclude_defaults=True)

    @property
    def content(self) -> dict[str, Any]:
        """The part of `asked` that changes the engine."""
        return {key: value for key, value in self.asked.items() if key not in _NOT_CONTENT}

    @model_validator(mode="after")
    def _lengths(self) -> BuildOptions:
        if self.max_input_len and self.max_seq_len and self.max_input_len > self.max_seq_len:
            raise ValueError(
                f"max_input_len ({self.max_input_len}) goes over max_seq_len ({self.max_seq_len}), which counts prompt and output: "
                "raise max_seq_len"
            )
        if self.kv_block_tokens and self.kv_block_tokens & (self.kv_block_tokens - 1):
            raise ValueError(f"kv_block_tokens ({self.kv_block_tokens}) is not a power of two: give 32, 64 or 128")
        return self

    @model_validator(mode="after")
    def _plugins(self) -> BuildOptions:
        for name, value in self.plugins.items():
            if name in _OWN_KEYS:
                raise ValueError(f"plugins.{name}: has a key of its own; set {_OWN_KEYS[name]}")
            if name not in PLUGINS:
                raise ValueError(f"plugins.{name}: no such plugin; there are {', '.join(PLUGINS)}")
            if value not in PLUGINS[name]:
                raise ValueError(f"plugins.{name} = {value!r}: give one of {', '.join(PLUGINS[name])}")
        if self.paged_context_fmha and self.plugins.get("context_fmha") == "disable":
            raise ValueError("paged_context_fmha needs plugins.context_fmha, which is disable: drop one of them")
        return self

    @model_validator(mode="after")
    def _plugins_together(self) -> BuildOptions:
        """Checks the combinations that tensorrt_llm/builder.py refuses during a build and the executor when it loads an engine."""
        for name in _IN_FLIGHT:
            if self.plugins.get(name) == "disable":
                raise ValueError(f"plugins.{name} = disable: such an engine has no in-flight batching and does not load: leave it out")
        for name in _SWIGLU:
            if self.plugins.get(name) == "fp8" and self.plugins.get("use_fused_mlp") == "disable":
                raise ValueError(f"plugins.{name} = fp8 needs plugins.use_fused_mlp, which is disable: drop one of them")
        return self

    @model_validator(mode="after")
    def _int8_kv(self) -> BuildOptions:
        if self.kv_dtype == "int8" and self.paged_context_fmha:
            raise ValueError(
                "paged_context_fmha does not work with kv_dtype int8, TensorRT-LLM turns it off: no KV reuse, no chunked prefill; "
                "take kv_dtype auto, or leave paged_context_fmha out"
            )
        return self

    @model_validator(mode="after")
    def _dummy(self) -> BuildOptions:
        if self.dummy_weights and self.kv_dtype != "auto":
            raise ValueError(f"kv_dtype {self.kv_dtype} is calibrated, dummy_weights has nothing to calibrate on: drop one of them")
        if self.dummy_weights and self.engine_dir:
            raise ValueError("engine_dir is a finished engine, dummy_weights is of a build: drop one of them")
        return self
