"""Inference of any model on Triton: requests carry the workload's own tensors."""

from __future__ import annotations

from trtbench.tasks.embed import EMBED
from trtbench.tasks.task import Task

_INFERENCE_S = 0.01
"""What an estimate assumes of a model of which nothing is known."""

INFER = Task(
    name="infer",
    model="a model with tensors of any kind",
    models="models with tensors of any kind",
    draws_output_tokens=False,
    frames_prompts=False,
    least_input_tokens=1,
    sends_tensors=True,
    unused_keys={
        "scenario": EMBED.unused_keys["scenario"],
        "build": EMBED.unused_keys["build"],
        "deployment": EMBED.unused_keys["deployment"],
        "grid": EMBED.unused_keys["grid"],
        "kind": ("input_tokens", "output_tokens", "prefix", "dataset"),
        "workload": ("mix", "duplicate_ratio", "ignore_eos", "languages", "streaming", "sampling"),
        "slo": ("tpot_ms",),
    },
    streams_tokens=False,
    has_kv_cache=False,
    batches_in_flight=False,
    assumed_request_s=lambda input_tokens, output_tokens: _INFERENCE_S,
    assumed_rate=lambda input_tokens, output_tokens: f"{1 / _INFERENCE_S:.0f} requests/s",
    texts_files=("embed", "infer"),
    headline_latency="e2e",
    latencies=("e2e_latency_ns",),
    curves=("e2e",),
    headline_rate="request_throughput",
    hidden=(EMBED.hidden - {"first_response", "response_gap", "responses", "inference_throughput", "inferences_per_s"})
    | {"padding", "input_tokens", "input_token_throughput", "input_mean"},
)
