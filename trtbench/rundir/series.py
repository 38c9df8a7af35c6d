"""Names of sampled series: each is declared once, with what docs/telemetry.md says of it.

Telemetry writes these names and analysis reads them; mypy checks both. A run directory may hold other names, of a newer version or of
a source that is not trtbench's own (`Unlisted`): they read and are listed like any other, but no figure is computed from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Literal, NewType, TypeAlias, get_args


@dataclass(frozen=True, slots=True)
class About:
    """The description of a series. `label` describes the label of a sample; it is empty for a series without labels."""

    label: str
    source: str
    meaning: str


SeriesName: TypeAlias = (
    Annotated[
        Literal["triton_inference_count", "triton_execution_count"],
        About("", "Triton statistics", "inferences and model executions, counters"),
    ]
    | Annotated[
        Literal["triton_batch_executions"],
        About("batch size", "Triton statistics `batch_stats`", "executions of that batch size, counter"),
    ]
    | Annotated[Literal["triton_success_count", "triton_fail_count"], About("", "Triton statistics", "requests, counters")]
    | Annotated[
        Literal["triton_queue_ns", "triton_compute_input_ns", "triton_compute_infer_ns", "triton_compute_output_ns"],
        About("", "Triton statistics", "summed durations, counters"),
    ]
    | Annotated[
        Literal["response_cache_hit_count", "response_cache_hit_ns", "response_cache_miss_count", "response_cache_miss_ns"],
        About(
            "",
            "Triton statistics `cache_hit`, `cache_miss`",
            "requests and summed durations, counters; present from the first look-up on",
        ),
    ]
    | Annotated[
        Literal["response_cache_entries", "response_cache_evictions", "response_cache_used_ratio"],
        About(
            "",
            "`nv_cache_num_entries`, `nv_cache_num_evictions`, `nv_cache_util`",
            "of the local cache, as the server last updated them; of several servers the mean share",
        ),
    ]
    | Annotated[Literal["triton_pending_requests"], About("", "`nv_inference_pending_request_count`", "requests in Triton's queue")]
    | Annotated[
        Literal["inflight_active_requests", "inflight_scheduled_requests", "inflight_waiting_requests", "inflight_max_requests"],
        About("", "`nv_trt_llm_request_metrics`", "requests in the engine; `scheduled` is the running batch"),
    ]
    | Annotated[
        Literal["inflight_context_requests"],
        About("", "`nv_trt_llm_request_metrics`", "requests in prefill in the last engine step"),
    ]
    | Annotated[
        Literal["engine_input_tokens", "engine_output_tokens"],
        About(
            "",
            "`nv_llm_input_token_len`, `nv_llm_output_token_len`",
            "sums of the server's own histograms: tokens of finished requests, counters",
        ),
    ]
    | Annotated[
        Literal["engine_requests", "engine_queue_ns", "engine_prefill_ns", "engine_decode_ns"],
        About(
            "",
            "vLLM's `request_*_time_seconds`, trtllm-serve's `/perf_metrics`",
            "finished requests, and their summed times in the engine's queue, until and after the first token, counters",
        ),
    ]
    | Annotated[
        Literal["front_end_in_ns", "front_end_out_ns"],
        About(
            "",
            "trtllm-serve's `/perf_metrics`",
            "summed times of finished requests from the HTTP front end to the engine, and of first tokens back, counters",
        ),
    ]
    | Annotated[
        Literal["engine_preemptions"], About("", "`vllm:num_preemptions`", "requests that lost their KV blocks and began again, counter")
    ]
    | Annotated[
        Literal["prefix_cache_queries", "prefix_cache_hits"],
        About(
            "",
            "`vllm:prefix_cache_*`, trtllm-serve's `/perf_metrics`",
            "prompt tokens (vLLM) or blocks (trtllm-serve) that were looked up in the prefix cache, and found there, counters",
        ),
    ]
    | Annotated[
        Literal["inflight_context_tokens", "inflight_generation_requests", "inflight_paused_requests"],
        About("", "`nv_trt_llm_inflight_batcher_metrics`", "of the last engine step"),
    ]
    | Annotated[
        Literal["kv_blocks_max", "kv_blocks_used", "kv_blocks_free", "kv_blocks_reused", "kv_block_tokens"],
        About("", "`nv_trt_llm_kv_cache_block_metrics`", "paged KV cache; `kv_block_tokens` is the block size"),
    ]
    | Annotated[
        Literal["engine_memory_bytes"],
        About(
            "`cpu`, `gpu`, `pinned`",
            "`nv_trt_llm_runtime_memory_metrics`",
            "memory that the engine holds for its runtime; on the CPU stack the KV cache",
        ),
    ]
    | Annotated[Literal["engine_iterations"], About("", "`nv_trt_llm_general_metrics`", "engine steps, counter")]
    | Annotated[
        Literal["inflight_steps"],
        About(
            "scheduled requests",
            "`trtbench_engine_steps` (CPU only)",
            "engine steps that ran this number of requests, counter: every step, not a sample",
        ),
    ]
    | Annotated[
        Literal["inflight_tokens"],
        About(
            "`alone`, `in_company`",
            "`trtbench_engine_tokens` (CPU only)",
            "output tokens of steps that ran one request, or more, counter",
        ),
    ]
    | Annotated[
        Literal["encoder_tokens"],
        About(
            "`input`, `padding`",
            "`trtbench_encoder_tokens`",
            "tokens that trtbench's encoder model computed, counters; `padding` fills the shorter inputs of a batch",
        ),
    ]
    | Annotated[
        Literal["server_cpu_cores", "server_rss_bytes", "server_fds", "server_threads", "server_processes"],
        About(
            "",
            "process tree of `tritonserver`",
            "cores in use (1.0 = one core), resident memory, descriptors, threads, processes",
        ),
    ]
    | Annotated[
        Literal["server_major_faults"],
        About("", "/proc/PID/stat of that tree", "page faults that had to wait for a disk, since a member was first seen, counter"),
    ]
    | Annotated[
        Literal["client_cpu_cores", "client_rss_bytes", "client_fds", "client_threads"],
        About(
            "",
            "process tree of trtbench",
            "the same for the load generator: its workers, and the process that starts them",
        ),
    ]
    | Annotated[
        Literal["client_loop_lag_ns"],
        About(
            "worker",
            "event loop",
            "largest lateness of a 50 ms timer since the last reading; no label in runs of format 1",
        ),
    ]
    | Annotated[
        Literal["client_gc_pause_ns"],
        About("worker", "`gc.callbacks`", "longest pause by Python's garbage collector since the last reading"),
    ]
    | Annotated[Literal["client_worker_cpu_cores"], About("worker", "its own CPU clock", "cores in use since the last reading")]
    | Annotated[
        Literal["replica_success_count", "replica_cpu_cores", "replica_rss_bytes"],
        About("server", "each of several servers", "the series of the server, for each server; absent if only one server runs"),
    ]
    | Annotated[
        Literal["length_class"],
        About("class/series/label", "the model of each length class", "a series of Triton or its engine; those above are the sums of all"),
    ]
    | Annotated[
        Literal["balancer_cpu_cores", "balancer_rss_bytes", "balancer_fds"],
        About("", "process tree of haproxy or nginx", "where `replicas.balancer` names one"),
    ]
    | Annotated[
        Literal["machine_cpu_ratio", "machine_memory_available_bytes"],
        About("", "/proc", "the whole machine; 1.0 = every core busy"),
    ]
    | Annotated[Literal["machine_swapped_in_pages"], About("", "/proc/vmstat `pswpin`", "pages read back from swap since boot, counter")]
    | Annotated[
        Literal["container_memory_available_bytes"],
        About(
            "",
            "/sys/fs/cgroup",
            "the minimum over all control groups with a limit, including file pages that can be dropped; absent without a limit",
        ),
    ]
    | Annotated[
        Literal[
            "gpu_utilization_ratio",
            "gpu_memory_used_bytes",
            "gpu_power_w",
            "gpu_sm_clock_mhz",
            "gpu_memory_clock_mhz",
            "gpu_temperature_c",
            "gpu_throttle_reasons",
        ],
        About(
            "GPU index",
            "NVML",
            "`gpu_throttle_reasons` is NVML's bit mask; power of Ampere and later is the driver's mean over a second",
        ),
    ]
    | Annotated[
        Literal["gpu_energy_j"],
        About(
            "GPU index",
            "NVML field 83",
            "since the driver was loaded, counter; the report's energy is its increase, or the integral of power if there is none",
        ),
    ]
    | Annotated[Literal["gpu_memory_temperature_c"], About("GPU index", "NVML field 82", "temperature of the GPU's memory")]
    | Annotated[
        Literal["gpu_pcie_tx_bytes", "gpu_pcie_rx_bytes"],
        About("GPU index", "NVML fields 197, 198", "counters, may restart; newer drivers"),
    ]
    | Annotated[
        Literal["gpu_pcie_tx_bytes_per_s", "gpu_pcie_rx_bytes_per_s"],
        About("GPU index", "NVML", "only if there are no counters; the driver counts for 20 ms, once a second"),
    ]
    | Annotated[
        Literal["gpu_nvlink_tx_bytes", "gpu_nvlink_rx_bytes"],
        About("GPU index", "NVML fields 138, 139", "data over all links, counters"),
    ]
    | Annotated[
        Literal["server_gpu_memory_bytes"],
        About("GPU index", "NVML", "memory of the server's process tree; once a second, like the next five"),
    ]
    | Annotated[Literal["gpu_other_processes"], About("GPU index", "NVML", "processes on the GPU that this run has not started")]
    | Annotated[
        Literal["gpu_ecc_uncorrected"],
        About("GPU index", "NVML", "uncorrected memory errors since the driver was loaded, counter"),
    ]
    | Annotated[
        Literal["mig_memory_used_bytes", "mig_memory_bytes"],
        About("MIG UUID", "NVML", "memory of a MIG instance, used and total"),
    ]
    | Annotated[
        Literal["gpu_xid", "gpu_lost"], About("GPU index", "NVML events", "an error's number when it occurs; 1 when the GPU is lost")
    ]
)

Unlisted = NewType("Unlisted", str)
"""The name of a series of a source from outside trtbench."""

AnySeries: TypeAlias = SeriesName | Unlisted


def groups() -> Iterator[tuple[tuple[SeriesName, ...], About]]:
    """(Names of series, description), in the order of docs/telemetry.md."""
    for group in get_args(SeriesName):
        names, about = get_args(group)
        yield get_args(names), about


_UNITS = {
    "bytes_per_s": "bytes/s",
    "bytes": "bytes",
    "ns": "ns",
    "ratio": "ratio",
    "cores": "cores",
    "w": "W",
    "j": "J",
    "mhz": "MHz",
    "c": "°C",
}
"""Units by the end of a series' name."""


def unit_of(name: str) -> str:
    """The unit in the name; "" for a count, a number or a bit mask."""
    return next((unit for end, unit in _UNITS.items() if name.endswith(f"_{end}")), "")
