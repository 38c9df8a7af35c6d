"""What the stand-in for TensorRT-LLM's backend prints: its lines at load and its metrics page, by the engine's own numbers."""

from __future__ import annotations

from typing import Any

GIB = 1 << 30


def loading_log(served: Any) -> str:
    """The lines of tests/fixtures/trtllm_logs/lines.yaml, with this engine's numbers."""
    limits, blocks, block_tokens = served.limits, served.kv_blocks, served.block_tokens
    kv_tokens = blocks * block_tokens
    why = (
        "chunked context is enabled"
        if served.longest_prompt == limits["max_seq_len"] - 1
        else "context FMHA and usePackedInput are enabled"
    )
    said = [
        f"Engine version {served.engine['version']} found in the config file, assuming engine(s) built by new builder API.",
        "MPI size: 1, MPI local size: 1, rank: 0",
        f"TRTGptModel maxNumSequences: {limits['max_batch_size']}",
        f"TRTGptModel maxBatchSize: {limits['max_batch_size']}",
        "TRTGptModel maxBeamWidth: 1",
        f"TRTGptModel maxSequenceLen: {limits['max_seq_len']}",
        f"TRTGptModel maxNumTokens: {limits['max_num_tokens']}",
        f"TRTGptModel maxInputLen: {served.longest_prompt}  = since {why}",
        f"Capacity Scheduler Policy: {served.parameters.get('batch_scheduler_policy', 'guaranteed_no_evict').upper()}",
        "Context Chunking Scheduler Policy: None",
        "Loaded engine size: 3 MiB",
        "[MemUsageChange] Allocated 12.50 MiB for execution context memory.",
        "Memory usage when calculating max tokens in paged kv cache: total: 79.10 GiB, available: 63.62 GiB",
        f"Number of blocks in KV cache primary pool: {blocks}",
        f"Number of tokens per block: {block_tokens}.",
        f"[MemUsageChange] Allocated {kv_tokens * 1024 / GIB:.2f} GiB for max tokens in paged KV cache ({kv_tokens}).",
    ]
    return "".join(f"[TensorRT-LLM][INFO] {line}\n" for line in said)


def metrics_page(backend: Any) -> str:
    """Every family of the contract; of the LLM API's model none of the backend's, as is on record."""
    engine = backend.engine
    if engine.config.backend != "tensorrtllm":
        return f'nv_inference_pending_request_count{{model="{engine.config.name}",version="{engine.version}"}} 0\n'
    used, running = backend.kv_used, backend.in_flight - backend.waiting
    values = {
        ("nv_inference_pending_request_count", ""): {"": 0},
        ("nv_trt_llm_request_metrics", "request_type"): {
            "active": backend.in_flight,
            "max": engine.limits["max_batch_size"],
            "scheduled": running,
            "context": 0,
            "waiting": backend.waiting,
        },
        ("nv_trt_llm_runtime_memory_metrics", "memory_type"): {"cpu": 1 << 20, "gpu": 1 << 28, "pinned": 1 << 20},
        ("nv_trt_llm_kv_cache_block_metrics", "kv_cache_block_type"): {
            "max": engine.kv_blocks,
            "free": engine.kv_blocks - used,
            "used": used,
            "tokens_per": engine.block_tokens,
            "reused": backend.kv_reused,
            "fraction": used / engine.kv_blocks,
        },
        ("nv_trt_llm_disaggregated_serving_metrics", "disaggregated_serving_type"): {"kv_cache_transfer_ms": 0, "request_count": 0},
        ("nv_trt_llm_inflight_batcher_metrics", "inflight_batcher_specific_metric"): {
            "total_context_tokens": 0,
            "generation_requests": running,
            "micro_batch_id": 0,
            "paused_requests": 0,
        },
        ("nv_trt_llm_general_metrics", "general_type"): {"timestamp": 0, "iteration_counter": backend.iterations},
        ("nv_llm_output_token_len_sum", "response_metric_type"): {"total_output_tokens": backend.output_tokens},
        ("nv_llm_input_token_len_sum", "response_metric_type"): {"total_input_tokens": backend.input_tokens},
    }
    base = f'model="{engine.config.name}",version="{engine.version}"'
    return "".join(
        family + "{" + base + (f',{label}="{kind}"' if label else "") + f"}} {value}\n"
        for (family, label), kinds in values.items()
        for kind, value in kinds.items()
    )
