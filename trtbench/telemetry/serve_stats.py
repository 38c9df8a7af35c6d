"""Engine statistics of trtllm-serve: iteration statistics as JSON (/metrics), or Prometheus families (/prometheus/metrics).

Keys of the first: IterationStats in TensorRT-LLM's jsonSerialization.cpp; names of the second: its tensorrt_llm/metrics/collector.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from trtbench.rundir.records import Sample
from trtbench.rundir.series import SeriesName
from trtbench.telemetry.exposition import Reading, series_of

_HIGHEST = 1e300
_TIMESTAMP = "%m-%d-%Y %H:%M:%S.%f"
_ITERATION: Mapping[tuple[str, ...], tuple[SeriesName, str]] = {
    # the place of a value in an iteration: (name, label) in docs/telemetry.md
    ("iter",): ("engine_iterations", ""),
    ("numActiveRequests",): ("inflight_active_requests", ""),
    ("maxNumActiveRequests",): ("inflight_max_requests", ""),
    ("gpuMemUsage",): ("engine_memory_bytes", "gpu"),
    ("cpuMemUsage",): ("engine_memory_bytes", "cpu"),
    ("pinnedMemUsage",): ("engine_memory_bytes", "pinned"),
    ("kvCacheStats", "maxNumBlocks"): ("kv_blocks_max", ""),
    ("kvCacheStats", "freeNumBlocks"): ("kv_blocks_free", ""),
    ("kvCacheStats", "usedNumBlocks"): ("kv_blocks_used", ""),
    ("kvCacheStats", "tokensPerBlock"): ("kv_block_tokens", ""),
    ("kvCacheStats", "reusedBlocks"): ("kv_blocks_reused", ""),
    ("inflightBatchingStats", "numScheduledRequests"): ("inflight_scheduled_requests", ""),
    ("inflightBatchingStats", "numContextRequests"): ("inflight_context_requests", ""),
    ("inflightBatchingStats", "numGenRequests"): ("inflight_generation_requests", ""),
    ("inflightBatchingStats", "numPausedRequests"): ("inflight_paused_requests", ""),
    ("inflightBatchingStats", "numCtxTokens"): ("inflight_context_tokens", ""),
}
_PROMETHEUS: Mapping[str, tuple[SeriesName, str]] = {
    "trtllm_iteration_latency_seconds_count": ("engine_iterations", ""),
    "trtllm_num_requests_waiting": ("inflight_waiting_requests", ""),
    "trtllm_max_num_active_requests": ("inflight_max_requests", ""),
    "trtllm_num_scheduled_requests": ("inflight_scheduled_requests", ""),
    "trtllm_num_context_requests": ("inflight_context_requests", ""),
    "trtllm_num_generation_requests": ("inflight_generation_requests", ""),
    "trtllm_num_paused_requests": ("inflight_paused_requests", ""),
    "trtllm_total_context_tokens": ("inflight_context_tokens", ""),
    "trtllm_kv_cache_max_blocks": ("kv_blocks_max", ""),
    "trtllm_kv_cache_free_blocks": ("kv_blocks_free", ""),
    "trtllm_kv_cache_used_blocks": ("kv_blocks_used", ""),
    "trtllm_kv_cache_tokens_per_block": ("kv_block_tokens", ""),
    "trtllm_kv_cache_reused_blocks_total": ("kv_blocks_reused", ""),
    "trtllm_gpu_memory_usage_bytes": ("engine_memory_bytes", "gpu"),
    "trtllm_cpu_memory_usage_bytes": ("engine_memory_bytes", "cpu"),
    "trtllm_pinned_memory_usage_bytes": ("engine_memory_bytes", "pinned"),
    "trtllm_prompt_tokens_total": ("engine_input_tokens", ""),
    "trtllm_generation_tokens_total": ("engine_output_tokens", ""),
}


def is_iterations(page: str) -> bool:
    return page.lstrip().startswith("[")


def iteration_samples(page: str, read_ns: int) -> list[Sample]:
    """Every iteration since the page was read before; ValueError when it is not a list of iterations.

    The last has the time of the reading. The others are earlier by the difference of the server's timestamps, because the server's clock
    is another than the run's.
    """
    iterations = json.loads(page)
    if not all(isinstance(one, dict) for one in iterations):
        raise ValueError("not a list of iteration statistics")
    instants = [_instant_ns(one) for one in iterations]
    last_ns = next((instant for instant in reversed(instants) if instant is not None), 0)
    samples = []
    for one, instant_ns in zip(iterations, instants, strict=True):
        time_ns = read_ns - max(0, last_ns - (last_ns if instant_ns is None else instant_ns))
        samples += [Sample(time_ns, *reading) for reading in _readings(one)]
    return samples


def serve_readings(page: str) -> list[Reading]:
    """Readings of a server of one model; a name with several label sets has its last value."""
    found = {_PROMETHEUS[one.name]: float(one.value) for one in series_of(page.split("\n"), ("trtllm_",)) if one.name in _PROMETHEUS}
    return [Reading(*series, value) for series, value in found.items()]


def _readings(iteration: Mapping[str, Any]) -> Iterator[Reading]:
    values: dict[str, float] = {}
    for place, (name, label) in _ITERATION.items():
        value: Any = iteration
        for key in place:
            value = value.get(key) if isinstance(value, dict) else None  # a section that does not apply is null
        if isinstance(value, (int, float)) and abs(value) < _HIGHEST:  # neither infinite nor beyond a float
            values[name] = float(value)
            yield Reading(name, label, float(value))
    if {"inflight_active_requests", "inflight_scheduled_requests"} <= values.keys():  # as the C++ backend counts those that wait
        yield Reading("inflight_waiting_requests", "", values["inflight_active_requests"] - values["inflight_scheduled_requests"])


def _instant_ns(iteration: Mapping[str, Any]) -> int | None:
    """Timestamp by the server's wall clock, or None."""
    try:
        stamped = datetime.strptime(str(iteration.get("timestamp")), _TIMESTAMP)
    except ValueError:
        return None
    since = stamped - datetime(1970, 1, 1)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
