"""Generating tokens from a prompt, with a decoder."""

from __future__ import annotations

from trtbench.tasks.task import Task

ASSUMED_TOKENS_PER_S = 50.0
"""Output tokens per second that an estimate assumes where nothing else is known: the demo on one CPU core."""

GENERATE = Task(
    name="generate",
    model="a decoder, which generates tokens",
    models="decoders",
    draws_output_tokens=True,
    frames_prompts=False,
    least_input_tokens=1,
    unused_keys={},
    streams_tokens=True,
    has_kv_cache=True,
    batches_in_flight=True,
    assumed_request_s=lambda input_tokens, output_tokens: output_tokens / ASSUMED_TOKENS_PER_S,
    assumed_rate=lambda input_tokens, output_tokens: f"{ASSUMED_TOKENS_PER_S:g} output tokens/s",
    texts_file=None,
    headline_latency="ttft",
    latencies=("ttft_ns", "e2e_latency_ns"),
    curves=("ttft", "itl"),
    headline_rate="output_token_throughput",
    hidden_columns=frozenset(
        {
            *("compute", "padding"),  # the execution of a decoupled model ends before its answers
            *("input_tokens", "p99_from_sent", "core.mean_batch", "core.queue", "latency.e2e_latency_from_sent_ns"),
            *("comparison.qps", "survivors.p50", "survivors.p99"),
        }
    ),
    formulas={
        "percentiles": "percentiles",
        "ttft": "ttft",
        "itl, itl_per_token": "itl",
        "tpot": "tpot",
        "e2e_latency": "e2e_latency",
        "ttft_from_sent, e2e_latency_from_sent": "from_sent",
        "send_lag": "send_lag",
        "stamp lag": "stamp_lag",
        "ttft_from_read, itl_from_read, tpot_from_read": "from_read",
        "itl_exact": "itl_exact",
        "token_rate_per_user": "token_rate_per_user",
        "server_queue, server_prefill, server_decode": "server",
        "outside_engine": "outside_engine",
        "request_throughput": "request_throughput",
        "output_token_throughput": "output_token_throughput",
        "goodput": "goodput",
        "error_ratio": "error_ratio",
        "batch_hit_ratio": "batch_hit_ratio",
        "mean_batch": "mean_batch",
        "inflight_batch": "inflight_batch",
        "kv_used_ratio": "kv_used_ratio",
        "kv_bytes_per_token": "kv_bytes_per_token",
        "knee": "knee",
        "speed-up, efficiency": "scaling",
        "imbalance": "imbalance",
        "agreement": "agreement",
        "energy_per_token": "energy",
    },
)
