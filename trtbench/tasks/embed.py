"""Embedding a text: an encoder answers each request with one vector."""

from __future__ import annotations

from trtbench.tasks.task import Task

_INFERENCE_S, _TOKEN_S = 0.003, 0.00035
"""Times that an estimate assumes if nothing else is known: for each inference of the encoder's demo on one CPU core, and for each of its
tokens.
"""


def _request_s(input_tokens: float, output_tokens: float) -> float:
    return _INFERENCE_S + _TOKEN_S * input_tokens


EMBED = Task(
    name="embed",
    model="an encoder, which embeds",
    models="encoders",
    draws_output_tokens=False,
    frames_prompts=True,
    least_input_tokens=3,  # a beginning, one token of text, an end
    sends_tensors=False,
    unused_keys={
        "scenario": ("context_limit",),
        "build": (
            *("kv_dtype", "kv_block_tokens", "max_seq_len", "max_num_tokens", "paged_context_fmha", "plugins"),
            *("tp", "pp", "workers", "dummy_weights", "route", "smoothquant"),
        ),
        "deployment": ("kv_cache", "scheduler", "tensorrt_llm", "llmapi"),
        "grid": ("max_sequences", "max_tokens_per_step"),
        "kind": ("output_tokens", "sessions", "prefix"),
        "workload": ("ignore_eos", "streaming", "sampling", "tensors"),
        "slo": ("ttft_ms", "itl_ms", "tpot_ms"),
    },
    streams_tokens=False,
    has_kv_cache=False,
    batches_in_flight=False,
    assumed_request_s=_request_s,
    assumed_rate=lambda input_tokens, output_tokens: f"{1 / _request_s(input_tokens, output_tokens):.0f} embeddings/s",
    texts_files=("embed",),
    headline_latency="e2e",
    latencies=("e2e_latency_ns",),
    curves=("e2e",),
    headline_rate="request_throughput",
    hidden=frozenset(
        {
            *("ttft", "ttft_p99", "ttfo", "itl", "itl_per_token", "tpot", "tpot_p99", "token_rate_per_user", "ttft_from_sent"),
            *("ttft_from_read", "itl_from_read", "tpot_from_read", "itl_exact"),
            *("server_queue", "server_prefill", "server_decode", "outside_engine"),
            *("tail_waterfall", "tail_requests", "tail_band", "tail_mean", "tail_client", "tail_engine_queue", "tail_prefill"),
            *("tail_decode", "tail_rest"),
            *("waterfall", "latency_mean", "in_client", "in_front_end", "in_triton", "in_engine_queue", "in_prefill", "in_decode"),
            *("in_return", "in_rest", "engine_times", "front_end_in", "engine_queue", "engine_prefill", "engine_decode", "front_end_out"),
            *("itl_before", "itl_during", "itl_spike", "pool_itl_before", "pool_itl", "pool_itl_spike"),
            *("output_token_throughput", "tokens", "output_mean", "energy_per_token", "energy", "agreement"),
            *("tokens_per_energy", "tokens_per_j", "price_per_million_tokens", "price", "cost_gpus"),
            *("inflight_batch", "step_batch", "seen_batch", "in_company", "waiting", "running"),
            *("first_response", "response_gap", "responses", "inference_throughput", "inferences_per_s"),  # of tensors
            *("kv_used_ratio", "kv_bytes_per_token", "kv", "kv_peak"),
        }
    ),
)
