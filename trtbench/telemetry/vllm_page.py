"""vLLM's Prometheus page: the batch, the KV cache, prefix caching, and the times of finished requests.

Names: vLLM's docs/usage/metrics.md and vllm/v1/metrics/loggers.py. Of several engines of one server (data parallel), values are summed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from trtbench.rundir.series import SeriesName
from trtbench.telemetry.exposition import Reading, series_of

_NS_PER_S = 1e9
_PLAIN: Mapping[str, tuple[SeriesName, float]] = {
    # family: (name in docs/telemetry.md, factor)
    "vllm:num_requests_running": ("inflight_scheduled_requests", 1),
    "vllm:num_requests_waiting": ("inflight_waiting_requests", 1),
    "vllm:num_preemptions_total": ("engine_preemptions", 1),
    "vllm:prefix_cache_queries_total": ("prefix_cache_queries", 1),
    "vllm:prefix_cache_hits_total": ("prefix_cache_hits", 1),
    "vllm:prompt_tokens_total": ("engine_input_tokens", 1),
    "vllm:generation_tokens_total": ("engine_output_tokens", 1),
    "vllm:iteration_tokens_total_count": ("engine_iterations", 1),
    "vllm:request_queue_time_seconds_count": ("engine_requests", 1),
    "vllm:request_queue_time_seconds_sum": ("engine_queue_ns", _NS_PER_S),
    "vllm:request_prefill_time_seconds_sum": ("engine_prefill_ns", _NS_PER_S),
    "vllm:request_decode_time_seconds_sum": ("engine_decode_ns", _NS_PER_S),
}
_KV_USED, _KV_CONFIG = "vllm:kv_cache_usage_perc", "vllm:cache_config_info"
_LINES = tuple(family + "{" for family in (*_PLAIN, _KV_USED, _KV_CONFIG))


def vllm_readings(page: str) -> list[Reading]:
    """Readings of a server of one model; empty for a page that is not vLLM's."""
    totals: defaultdict[SeriesName, float] = defaultdict(float)
    used: dict[str, float] = {}
    configs: dict[str, Mapping[str, str]] = {}
    for one in series_of(page.split("\n"), _LINES):
        engine = one.labels.get("engine", "")
        if one.name == _KV_USED:
            used[engine] = float(one.value)
        elif one.name == _KV_CONFIG:
            configs[engine] = one.labels
        else:
            name, factor = _PLAIN[one.name]
            totals[name] += one.value * factor
    if {"inflight_scheduled_requests", "inflight_waiting_requests"} <= totals.keys():
        totals["inflight_active_requests"] = totals["inflight_scheduled_requests"] + totals["inflight_waiting_requests"]
    return [*(Reading(name, "", value) for name, value in totals.items()), *_kv_cache(used, configs)]


def _kv_cache(used: Mapping[str, float], configs: Mapping[str, Mapping[str, str]]) -> Iterator[Reading]:
    """Blocks of all engines; nothing unless each reports its number of blocks.

    vLLM keeps one block for padding: the share in use is of the others (BlockPool.get_usage).
    """
    sizes = {engine: _blocks(config.get("num_gpu_blocks")) for engine, config in configs.items()}
    if not used or not all(sizes.get(engine) for engine in used):
        return
    blocks = sum(sizes[engine] for engine in used)
    in_use = sum(round(share * sizes[engine]) for engine, share in used.items())
    yield Reading("kv_blocks_max", "", blocks)
    yield Reading("kv_blocks_used", "", in_use)
    yield Reading("kv_blocks_free", "", blocks - in_use)
    block_tokens = next(iter(configs.values())).get("block_size", "")
    if block_tokens.isdecimal():
        yield Reading("kv_block_tokens", "", float(block_tokens[:_DIGITS]))


_DIGITS = 15  # a float holds every whole number of 15 digits


def _blocks(number: str | None) -> int:
    """The blocks that requests can use; 0 if that is unknown."""
    return max(0, int(number) - 1) if number and number.isdecimal() and len(number) <= _DIGITS else 0
