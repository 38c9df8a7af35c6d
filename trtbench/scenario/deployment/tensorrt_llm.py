"""Settings of TensorRT-LLM's own Triton models. Other providers refuse these parts."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, ValidationInfo, model_validator

from trtbench.scenario.parts.bounds import (
    Bytes,
    BytesOrNone,
    Count,
    CountOrNone,
    GpuIndex,
    Instances,
    PeriodMs,
    PeriodMsOrNone,
    RatioAboveZero,
    finite,
    is_of_a_run,
)
from trtbench.scenario.parts.part import Part

Path = tuple[CountOrNone, ...]

_ONLY_WITH = {  # parameter: (the mode that reads it)
    "lookahead_window_size": "lookahead",
    "lookahead_ngram_size": "lookahead",
    "lookahead_verification_set_size": "lookahead",
    "medusa_choices": "medusa",
    "eagle_choices": "eagle",
}


class BackendParameters(Part):
    """Parameters of the `tensorrt_llm` model's config.pbtxt, under their own names; null: not written, so the backend's default.

    What the common keys say is not here: enable_kv_cache_reuse (kv_cache.prefix_caching) and enable_chunked_context
    (scheduler.chunked_prefill).
    """

    batch_scheduler_policy: Literal["guaranteed_no_evict", "max_utilization"] | None = Field(
        None,
        description="Admit only requests that can end without a pause, or more. The backend's default is guaranteed_no_evict.",
    )
    kv_cache_free_gpu_mem_fraction: RatioAboveZero | None = Field(
        None,
        description="Share of the memory free after loading, for the KV cache; a smaller token budget wins. The backend's default is 0.9.",
    )
    max_tokens_in_paged_kv_cache: Count | None = Field(None, description="KV cache budget, tokens; or kv_cache.blocks, kv_cache.bytes.")
    max_attention_window_size: tuple[Count, ...] = Field((), description="Attention window, one for all layers or one a layer.")
    sink_token_length: Count | None = Field(None, description="Sink tokens kept in every attention window.")
    kv_cache_host_memory_bytes: BytesOrNone | None = Field(
        None, description="Host memory that KV blocks are offloaded to. The backend's default is 0."
    )
    kv_cache_onboard_blocks: bool | None = Field(None, description="Copy offloaded blocks back before use. The backend's default is true.")
    max_beam_width: Count | None = Field(
        None, description="Allow beams up to this width, at most the engine's. The backend's default is 1."
    )
    normalize_log_probs: bool | None = Field(None, description="Normalise output_log_probs. The backend's default is true.")
    iter_stats_max_iterations: CountOrNone | None = Field(
        None, description="Keep the statistics of this number of iterations. The backend's default is 1000."
    )
    request_stats_max_iterations: CountOrNone | None = Field(
        None, description="Keep the statistics of this number of requests. The backend's default is 0."
    )
    stats_check_period_ms: PeriodMs | None = Field(
        None, description="Update the statistics of /metrics at this interval. The backend's default is 100."
    )
    cancellation_check_period_ms: PeriodMs | None = Field(
        None, description="Look for cancelled requests at this interval. The backend's default is 100."
    )
    recv_poll_period_ms: PeriodMsOrNone | None = Field(
        None,
        description="Let the leader's receiving thread sleep (launch orchestrator only). The backend's default is 0, a busy core.",
    )
    gpu_device_ids: tuple[GpuIndex, ...] = Field(
        (), description="Run on these GPUs, one for each rank. The backend counts from 0 by default."
    )
    decoding_mode: Literal["top_k", "top_p", "top_k_top_p", "beam_search", "medusa", "redrafter", "lookahead", "eagle"] | None = Field(
        None, description="Choose tokens in this way. By default the engine and the beam width decide."
    )
    lookahead_window_size: Count | None = Field(None, description="With decoding_mode lookahead, all three or none.")
    lookahead_ngram_size: Count | None = Field(None, description="Size of an n-gram of lookahead decoding.")
    lookahead_verification_set_size: Count | None = Field(None, description="Number of n-grams that a step of lookahead decoding verifies.")
    medusa_choices: tuple[Path, ...] = Field((), description="Medusa's tree, a list of paths.")
    eagle_choices: tuple[Path, ...] = Field((), description="EAGLE's tree, a list of paths.")
    speculative_decoding_fast_logits: bool | None = Field(
        None, description="Send draft logits directly from engine to engine. The backend's default is false."
    )
    gpu_weights_percent: RatioAboveZero | None = Field(
        None,
        description="Keep this share of the weights on the GPU (an engine with weight_streaming only). The backend's default is 1.",
    )
    multi_block_mode: bool | None = Field(None, description="Split long attention over thread blocks. The backend's default is true.")
    enable_context_fmha_fp32_acc: bool | None = Field(
        None, description="Accumulate context attention in FP32. The backend's default is false."
    )
    cuda_graph_mode: bool | None = Field(None, description="Replay generation steps as CUDA graphs. The backend's default is false.")
    cuda_graph_cache_size: CountOrNone | None = Field(
        None, description="Keep this number of CUDA graphs; it needs cuda_graph_mode. The backend's default is 0."
    )
    lora_cache_optimal_adapter_size: Count | None = Field(
        None, description="Adapter size for which a page of the LoRA cache is sized. The backend's default is 8."
    )
    lora_cache_max_adapter_size: Count | None = Field(
        None, description="Largest adapter size in the LoRA cache. The backend's default is 64."
    )
    lora_cache_gpu_memory_fraction: RatioAboveZero | None = Field(
        None, description="Share of the free GPU memory for the LoRA cache. The backend's default is 0.05."
    )
    lora_cache_host_memory_bytes: Bytes | None = Field(None, description="Host memory for the LoRA cache. The backend's default is 1 GiB.")

    @model_validator(mode="after")
    def _modes(self) -> BackendParameters:
        for key, mode in _ONLY_WITH.items():
            if getattr(self, key) and self.decoding_mode != mode:
                raise ValueError(f"{key} is read in decoding_mode {mode} only, which is {self.decoding_mode}: set that, or drop {key}")
        lookahead = [key for key, mode in _ONLY_WITH.items() if mode == "lookahead" and getattr(self, key)]
        if len(lookahead) in (1, 2):
            raise ValueError(f"{' and '.join(lookahead)} without the others: give all three lookahead_* sizes, or none")
        if self.cuda_graph_cache_size and not self.cuda_graph_mode:
            raise ValueError(f"cuda_graph_cache_size = {self.cuda_graph_cache_size} needs cuda_graph_mode: set it true, or drop the size")
        return self

    @model_validator(mode="after")
    def _distinct_gpus(self) -> BackendParameters:
        if len(set(self.gpu_device_ids)) < len(self.gpu_device_ids):
            raise ValueError(f"gpu_device_ids {list(self.gpu_device_ids)} name a GPU twice: each rank has its own")
        return self


class TensorRtLlm(Part):
    """Settings with which TensorRT-LLM's C++ backend serves an engine."""

    family: Literal["ids", "ensemble", "bls"] = Field(
        "ids",
        description="Models of the repository: tensorrt_llm alone (token ids), or with tokenizer models as an ensemble, or as BLS (text).",
    )
    template_dir: str | None = Field(
        None, min_length=1, description="Directory of NVIDIA's inflight_batcher_llm models; default: where the containers have it."
    )
    launch: Literal["auto", "direct", "mpirun", "orchestrator"] = Field(
        "auto",
        description="auto: direct on one GPU, else mpirun, a server a rank (leader mode). orchestrator: one server, spawned workers.",
    )
    oversubscribe: bool = Field(False, description="Let mpirun start more ranks than there are cores.")
    batching_strategy: Literal["inflight_fused_batching", "inflight_batching", "V1"] = Field(
        "inflight_fused_batching", description="gpt_model_type: in-flight batching, or V1, static batches."
    )
    parameters: BackendParameters = BackendParameters()
    preprocessing_instances: Instances = Field(1, description="Tokenizer instances (ensemble, bls).")
    postprocessing_instances: Instances = Field(1, description="Detokenizer instances (ensemble, bls).")
    bls_instances: Instances = Field(1, description="Instances of tensorrt_llm_bls; each holds one request: about the engine's batch size.")
    accumulate_tokens: bool = Field(False, description="bls: every streamed response carries all the text so far.")
    add_special_tokens: bool = Field(False, description="ensemble, bls: the tokenizer adds its special tokens.")
    skip_special_tokens: bool = Field(True, description="ensemble, bls: the text is without special tokens.")

    @model_validator(mode="after")
    def _orchestrated(self) -> TensorRtLlm:
        period = self.parameters.recv_poll_period_ms
        if period is not None and self.launch != "orchestrator":
            raise ValueError(
                f"parameters.recv_poll_period_ms = {period} is read under launch orchestrator only, which is {self.launch}: "
                "set that, or drop it"
            )
        return self


class LlmApi(Part):
    """Settings of TensorRT-LLM's PyTorch backend, which serves checkpoints by Triton's `llmapi` model; null: the LLM API's default."""

    template_dir: str | None = Field(
        None, min_length=1, description="Directory of NVIDIA's llmapi models; default: where the containers have it."
    )
    launch: Literal["auto", "direct", "mpirun", "llmapi_launch"] = Field(
        "auto",
        description="auto: mpirun of one process, as NVIDIA's launcher. llmapi_launch: a process a rank under trtllm-llmapi-launch.",
    )
    oversubscribe: bool = Field(False, description="Let mpirun start more ranks than there are cores.")
    free_gpu_memory_fraction: RatioAboveZero | None = Field(None, description="Of the memory free after the load, for the KV cache.")
    host_cache_bytes: BytesOrNone | None = Field(None, description="Host memory that KV blocks are offloaded to.")
    capacity_scheduler_policy: Literal["GUARANTEED_NO_EVICT", "MAX_UTILIZATION", "STATIC_BATCH"] | None = Field(
        None, description="How the scheduler admits requests."
    )
    context_chunking_policy: Literal["FIRST_COME_FIRST_SERVED", "EQUAL_PROGRESS"] | None = Field(
        None, description="How chunks of several long prompts share a step."
    )
    cuda_graphs: bool | None = Field(None, description="false: off (cuda_graph_config: null); true: padded batch sizes.")
    disable_overlap_scheduler: bool | None = Field(None, description="Do not overlap the scheduling of a step with the previous step.")
    attn_backend: str | None = Field(None, min_length=1, description="TRTLLM, FLASHINFER, VANILLA, as the version has them.")
    stream_interval: Count | None = Field(None, description="Tokens between two streamed responses.")
    cancellation_check_period_ms: PeriodMs | None = Field(None, description="Look for cancelled requests at this interval. Model: 100.")
    options: dict[str, Any] = Field({}, description="Further keywords of tensorrt_llm.LLM; refused where the version does not know one.")

    @model_validator(mode="after")
    def _finite(self, info: ValidationInfo) -> LlmApi:
        if not is_of_a_run(info):
            finite(self.options, "options")
        return self
