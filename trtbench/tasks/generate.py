"""Generating tokens from a prompt, with a decoder."""

from __future__ import annotations

from trtbench.tasks.task import Task

ASSUMED_TOKENS_PER_S = 50.0
"""Output tokens per second that an estimate assumes if nothing else is known: those of the demo on one CPU core."""

GENERATE = Task(
    name="generate",
    model="a decoder, which generates tokens",
    models="decoders",
    draws_output_tokens=True,
    frames_prompts=False,
    least_input_tokens=1,
    sends_tensors=False,
    unused_keys={"workload": ("tensors",)},
    streams_tokens=True,
    has_kv_cache=True,
    batches_in_flight=True,
    assumed_request_s=lambda input_tokens, output_tokens: output_tokens / ASSUMED_TOKENS_PER_S,
    assumed_rate=lambda input_tokens, output_tokens: f"{ASSUMED_TOKENS_PER_S:g} output tokens/s",
    texts_files=(),
    headline_latency="ttft",
    latencies=("ttft_ns", "e2e_latency_ns"),
    curves=("ttft", "itl"),
    headline_rate="output_token_throughput",
    hidden=frozenset(
        {
            *("compute", "padding"),  # the execution of a decoupled model ends before its answers
            *("first_response", "response_gap", "responses", "inference_throughput", "inferences_per_s"),  # of tensors
            *("input_token_throughput", "input_tokens", "p99_from_sent"),
            *("core.mean_batch", "core.queue", "latency.e2e_latency_from_sent"),
            *("comparison.qps", "survivors.p50", "survivors.p99"),
        }
    ),
)
