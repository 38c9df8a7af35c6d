"""Every figure of a stage that the report prints. A table has its columns in the order of this list."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from trtbench.analysis.metric import Metric
from trtbench.analysis.stage.by_length_class import LengthClassResult
from trtbench.analysis.stage.latency import Group
from trtbench.analysis.stage.resources import GpuUse
from trtbench.analysis.stage.stage_result import StageResult
from trtbench.analysis.stage.workers import busiest, longest_pause_ns
from trtbench.analysis.stats.window import Level

Stage = Metric[StageResult]
_MEAN_MAX = ("mean", "max")

KEY_FIGURES = (
    *("qps", "p99", "gpu", "errors", "p99_all", "p50", "p99_from_sent", "ttft", "tokens", "input_tokens"),
    *("batch_hit", "mean_batch", "queue", "compute", "padding", "kv_peak", "cpu"),
)
"""The columns of the table `core`, which begins the report, in an order of its own."""


def _half_width(name: str) -> Callable[[StageResult], float | None]:
    return lambda stage: stage.uncertainty.half_widths.get(name)


LATENCY: tuple[Stage, ...] = (
    Stage("ttft", "ms", lambda s: s.latency.ttft_ns, "ttft", row=("latency",), half_width=_half_width("ttft_ns")).column("ttft", of="p50"),
    Stage("ttfo", "ms", lambda s: s.latency.ttfo_ns, "ttfo", row=("more",)),
    Stage("itl", "ms", lambda s: s.latency.itl_ns, "itl", row=("latency",)),
    Stage("first_response", "ms", lambda s: s.latency.ttft_ns, "first_response", row=("latency",)),
    Stage("response_gap", "ms", lambda s: s.latency.itl_ns, "response_gap", row=("latency",)),
    Stage("responses", "", lambda s: s.output_tokens, "responses", row=("latency",)),
    Stage("tpot", "ms", lambda s: s.latency.tpot_ns, "tpot", row=("latency",), half_width=_half_width("tpot_ns")),
    Stage(
        "e2e_latency", "ms", lambda s: s.latency.e2e_latency_ns, "e2e_latency", row=("latency",), half_width=_half_width("e2e_latency_ns")
    )
    .column("p50", of="p50")
    .column("p99", of="p99"),
    Stage(
        *("e2e_latency_all", "ms", lambda s: s.latency.e2e_latency_all_ns, "e2e_latency_all"),
        row=("latency",),
        has_row=lambda s: s.latency.has_failures,
    ).column("p99_all", of="p99"),
    Stage("ttft_from_sent", "ms", lambda s: s.latency.ttft_from_sent_ns, "from_sent", row=("more",)),
    Stage("e2e_latency_from_sent", "ms", lambda s: s.latency.e2e_latency_from_sent_ns, "from_sent", row=("latency", "more")).column(
        "p99_from_sent", of="p99"
    ),
    Stage("send_lag", "ms", lambda s: s.latency.send_lag_ns, "send_lag", row=("latency",)),
    Stage("itl_per_token", "ms", lambda s: s.latency.itl_per_token_ns, "itl", row=("more",)),
    Stage("server_queue", "ms", lambda s: s.latency.server_queue_ns, "server", row=("more",)),
    Stage("server_prefill", "ms", lambda s: s.latency.server_prefill_ns, "server", row=("more",)),
    Stage("server_decode", "ms", lambda s: s.latency.server_decode_ns, "server", row=("more",)),
    Stage("outside_engine", "ms", lambda s: s.latency.outside_engine_ns, "outside_engine", row=("more",)),
    Stage("ttft_from_read", "ms", lambda s: s.stamps.ttft_from_read_ns, "from_read", row=("more",)),
    Stage("itl_from_read", "ms", lambda s: s.stamps.itl_from_read_ns, "from_read", row=("more",)),
    Stage("tpot_from_read", "ms", lambda s: s.stamps.tpot_from_read_ns, "from_read", row=("more",)),
    Stage("itl_exact", "ms", lambda s: s.stamps.itl_exact_ns, "itl_exact", row=("more",)),
    Stage("token_rate_per_user", "tokens/s", lambda s: s.latency.token_rate_per_user, "token_rate_per_user", row=("more",)),
)

THROUGHPUT: tuple[Stage, ...] = (
    Stage("completed", "count", lambda s: s.throughput.completed).column("completed", "throughput"),
    Stage("offered_rate", "requests/s", lambda s: s.throughput.offered_rate, "offered_rate").column("offered", "throughput"),
    Stage(
        *("request_throughput", "requests/s", lambda s: s.throughput.request_throughput, "request_throughput"),
        half_width=_half_width("request_throughput"),
    ).column("qps", "throughput"),
    Stage("inference_throughput", "inferences/s", lambda s: s.throughput.inference_throughput, "inference_throughput").column(
        "inferences_per_s", "throughput"
    ),
    Stage(
        *("output_token_throughput", "tokens/s", lambda s: s.throughput.output_token_throughput, "output_token_throughput"),
        is_estimate=lambda s: s.throughput.tokens_estimated,
        half_width=_half_width("output_token_throughput"),
    ).column("tokens", "throughput"),
    Stage("input_token_throughput", "tokens/s", lambda s: s.throughput.input_token_throughput, "input_token_throughput").column(
        "input_tokens", "throughput"
    ),
    Stage("goodput", "requests/s", lambda s: s.throughput, "goodput", half_width=_half_width("goodput"))
    .column("goodput", "throughput", of="goodput")
    .column("goodput_ratio", "throughput", of="goodput_ratio", unit="ratio"),
    Stage("energy_per_token", "J/token", lambda s: s.energy_per_token_j, "energy_per_token").column("energy", "throughput", "cost"),
    Stage("tokens_per_energy", "tokens/J", lambda s: s.token_cost and s.token_cost.tokens_per_j, "tokens_per_energy").column(
        "tokens_per_j", "cost"
    ),
    Stage("price_per_million_tokens", "", lambda s: s.token_cost, "price_per_million_tokens")
    .column("cost_gpus", "cost", of="gpus")
    .column("price", "cost", of="price_per_million_tokens"),
    Stage("error_ratio", "ratio", lambda s: s.conservation.error_ratio, "error_ratio").column("errors"),
)

BATCHING: tuple[Stage, ...] = (
    Stage("inferences", "count", lambda s: s.triton_batching and s.triton_batching.inferences).column("inferences", "triton"),
    Stage("executions", "count", lambda s: s.triton_batching and s.triton_batching.executions).column("executions", "triton"),
    Stage("batch_hit_ratio", "ratio", lambda s: s.triton_batching, "batch_hit_ratio").column("batch_hit", "triton", of="batch_hit_ratio"),
    Stage("mean_batch", "", lambda s: s.triton_batching, "mean_batch")
    .column("mean_batch", "triton", of="mean_batch")
    .column("fill", "triton", of="fill_ratio", unit="ratio"),
    Stage("queue", "ms", lambda s: s.triton_batching, "queue").column("queue", "triton", of="queue_mean_ns"),
    Stage("compute", "ms", lambda s: s.triton_batching, "compute").column("compute", "triton", of="compute_mean_ns"),
    Stage("padding", "ratio", lambda s: s.padding_ratio, "padding").column("padding", "triton"),
    Stage("engine steps", "count", lambda s: s.inflight and sum(s.inflight.steps.values())).column("steps", "inflight"),
    Stage("inflight_batch", "", lambda s: s.inflight, "inflight_batch")
    .column("step_batch", "inflight", of="mean_batch")
    .column("seen_batch", "inflight", of="seen_batch")
    .column("in_company", "inflight", of="in_company_ratio", unit="ratio"),
    Stage("waiting requests", "count", lambda s: s.inflight and s.inflight.waiting)
    .column("waiting_mean", "inflight", of="mean", unit="")
    .column("waiting_max", "inflight", of="max"),
    Stage("batch limit", "count", lambda s: s.inflight).column("limit", "inflight", of="limit"),
)

KV_CACHE: tuple[Stage, ...] = (
    Stage("kv_used_ratio", "ratio", lambda s: s.kv_cache, "kv_used_ratio")
    .column("kv_peak", "kv", of="used_ratio_peak")
    .column("kv_mean", "kv", of="used_ratio_mean")
    .column("kv_near_full", "kv", of="near_full_ratio"),
    Stage("kv_bytes_per_token", "bytes/token", lambda s: s.kv_cache, "kv_bytes_per_token")
    .column("kv_theory", "kv", of="bytes_per_token_theory")
    .column("kv_measured", "kv", of="bytes_per_token_measured")
    .column("kv_fragmentation", "kv", of="fragmentation_ratio", unit="ratio"),
)

RESOURCES: tuple[Stage, ...] = (
    Stage("gpu_utilization", "ratio", lambda s: _mean([gpu.utilization_ratio for gpu in s.resources.gpus.values()])).column("gpu"),
    Stage("server CPU", "cores", lambda s: s.resources.server_cpu_cores)
    .column("cpu", of="mean")
    .column("server_cpu", "resources", of=_MEAN_MAX),
    Stage("server memory", "bytes", lambda s: s.resources.server_rss_bytes).column("server_rss", "resources", of="max"),
    Stage("client CPU", "cores", lambda s: s.resources.client_cpu_cores).column("client_cpu", "resources", of=_MEAN_MAX),
    Stage("client loop lag", "ms", lambda s: s.resources.client_loop_lag_ns).column("loop_lag", "resources", of="max"),
    Stage("machine CPU", "ratio", lambda s: s.resources.machine_cpu_ratio).column("machine_cpu", "resources", of="mean"),
    Stage("memory available", "bytes", lambda s: s.resources.memory_available_min_bytes).column("memory_free", "resources"),
    Stage("server descriptors, threads", "count", lambda s: _peaks(s.resources.server_fds, s.resources.server_threads)).column(
        "fds", "resources"
    ),
)

CLIENT: tuple[Stage, ...] = (
    Stage("stamp lag", "ms", lambda s: s.stamps.lag_ns, "stamp_lag")
    .column("lag_p50", "client", of="p50")
    .column("lag_p99", "client", of="p99")
    .column("lag_max", "client", of="max"),
    Stage("read together", "ratio", lambda s: s.stamps.coalesced_ratio).column("coalesced", "client"),
    Stage("rate_kept", "ratio", lambda s: s.sending.rate_ratio, "rate_kept").column("rate_kept", "client"),
    Stage("busiest worker", "cores", lambda s: _cores(busiest(s.resources.client_workers))).column("worker_cpu", "client"),
    Stage("GC pause", "ms", lambda s: longest_pause_ns(s.resources.client_workers)).column("gc_pause", "client"),
)

ENGINE_COUNTS: tuple[Stage, ...] = (
    Stage("prefix hit ratio by request", "count", lambda s: s.reuse)
    .column("told_requests", "reuse", of="requests")
    .column("reused_blocks", "reuse", of="reused_blocks")
    .column("other_blocks", "reuse", of="other_blocks")
    .column("hit_ratio_by_request", "reuse_ratio", of="hit_ratio", unit="ratio"),
    Stage("draft acceptance ratio", "count", lambda s: s.drafts)
    .column("drafted_requests", "drafts", of="requests")
    .column("draft_tokens", "drafts", of="draft_tokens")
    .column("accepted_tokens", "drafts", of="accepted_tokens")
    .column("acceptance_ratio", "drafts", of="acceptance_ratio", unit="ratio"),
)

ENGINE_TIMES: tuple[Stage, ...] = (
    Stage("finished by the engine", "count", lambda s: s.engine_times).column("finished", "engine_times", of="requests"),
    Stage("engine_times", "ms", lambda s: s.engine_times, "engine_times")
    .column("front_end_in", "engine_times", of="front_end_in_mean_ns")
    .column("engine_queue", "engine_times", of="queue_mean_ns")
    .column("engine_prefill", "engine_times", of="prefill_mean_ns")
    .column("engine_decode", "engine_times", of="decode_mean_ns")
    .column("front_end_out", "engine_times", of="front_end_out_mean_ns"),
    Stage("prefix hit ratio", "ratio", lambda s: s.engine_times).column("prefix_hit", "engine_times", of="prefix_hit_ratio"),
    Stage("preemptions", "count", lambda s: s.engine_times).column("preemptions", "engine_times", of="preemptions"),
)

WATERFALL: tuple[Stage, ...] = (
    Stage("waterfall", "ms", lambda s: s.waterfall, "waterfall")
    .column("latency_mean", "waterfall", of="total_ns")
    .column("in_client", "waterfall", of="client_ns")
    .column("in_front_end", "waterfall", of="front_end_in_ns")
    .column("in_triton", "waterfall", of="triton_queue_ns")
    .column("in_engine_queue", "waterfall", of="engine_queue_ns")
    .column("in_prefill", "waterfall", of="prefill_ns")
    .column("in_decode", "waterfall", of="decode_ns")
    .column("in_return", "waterfall", of="front_end_out_ns")
    .column("in_rest", "waterfall", of="rest_ns"),
    Stage("tail_waterfall", "ms", lambda s: s.tail_waterfall, "tail_waterfall")
    .column("tail_requests", "tail_waterfall", of="requests", unit="count")
    .column("tail_band", "tail_waterfall", of=("low_ns", "high_ns"))
    .column("tail_mean", "tail_waterfall", of="total_ns")
    .column("tail_client", "tail_waterfall", of="client_ns")
    .column("tail_engine_queue", "tail_waterfall", of="engine_queue_ns")
    .column("tail_prefill", "tail_waterfall", of="prefill_ns")
    .column("tail_decode", "tail_waterfall", of="decode_ns")
    .column("tail_rest", "tail_waterfall", of="rest_ns"),
)

OF_SEVERAL_STAGES: tuple[Stage, ...] = (
    *(Stage("percentiles", formula="percentiles"), Stage("knee", formula="knee")),
    *(Stage("speed-up", formula="scaling"), Stage("efficiency", formula="scaling"), Stage("imbalance", formula="imbalance")),
    Stage("agreement", formula="agreement"),
)
"""Metrics that the appendix of formulas defines and whose tables belong to experiments."""

METRICS = (*LATENCY, *THROUGHPUT, *BATCHING, *KV_CACHE, *RESOURCES, *CLIENT, *ENGINE_COUNTS, *ENGINE_TIMES, *WATERFALL, *OF_SEVERAL_STAGES)

GROUP_METRICS: tuple[Metric[Group], ...] = (
    Metric("requests", "count", lambda g: g.requests).column("requests", "groups"),
    Metric("completed", "count", lambda g: g.completed).column("completed", "groups"),
    Metric("input tokens", "count", lambda g: g.input_tokens).column("input_mean", "groups", of="mean"),
    Metric("output tokens", "count", lambda g: g.output_tokens).column("output_mean", "groups", of="mean"),
    Metric("ttft", "ms", lambda g: g.ttft_ns, "ttft").column("ttft", "groups", of="p50").column("ttft_p99", "groups", of="p99"),
    Metric("tpot", "ms", lambda g: g.tpot_ns, "tpot").column("tpot", "groups", of="p50"),
    Metric("e2e_latency", "ms", lambda g: g.e2e_latency_ns, "e2e_latency")
    .column("p50", "groups", of="p50")
    .column("p99", "groups", of="p99"),
)
"""Figures of a component of a mixed workload, and of the first and later turns of sessions."""

CLASS_METRICS: tuple[Metric[LengthClassResult], ...] = (
    Metric("upto", "count", lambda c: c.upto_input_tokens).column("upto", "classes"),
    Metric("requests", "count", lambda c: c.group.requests).column("requests", "classes"),
    Metric("ttft", "ms", lambda c: c.group.ttft_ns, "ttft").column("ttft", "classes", of="p50").column("ttft_p99", "classes", of="p99"),
    Metric("e2e_latency", "ms", lambda c: c.group.e2e_latency_ns, "e2e_latency")
    .column("p50", "classes", of="p50")
    .column("p99", "classes", of="p99"),
    Metric("batch_hit_ratio", "ratio", lambda c: c.triton_batching, "batch_hit_ratio").column("batch_hit", "classes", of="batch_hit_ratio"),
    Metric("mean_batch", "", lambda c: c.triton_batching).column("mean_batch", "classes", of="mean_batch"),
    Metric("queue", "ms", lambda c: c.triton_batching, "queue").column("queue", "classes", of="queue_mean_ns"),
    Metric("padding", "ratio", lambda c: c.padding_ratio, "padding").column("padding", "classes"),
    Metric("inflight_batch", "", lambda c: c.inflight, "inflight_batch").column("step_batch", "classes", of="mean_batch"),
    Metric("kv_used_ratio", "ratio", lambda c: c.kv_used_ratio_peak, "kv_used_ratio").column("kv_peak", "classes"),
)
"""Figures of a length class, the batching among them only where it has a model of its own."""

GPU_METRICS: tuple[Metric[GpuUse], ...] = (
    Metric("utilization", "ratio", lambda g: g.utilization_ratio).column("gpu_use", "gpu", of=_MEAN_MAX),
    Metric("memory", "bytes", lambda g: g.memory_used_bytes).column("gpu_memory", "gpu", of="max"),
    Metric("power", "W", lambda g: g.power_w).column("gpu_power", "gpu", of=_MEAN_MAX),
    Metric("SM clock", "MHz", lambda g: g.sm_clock_mhz).column("gpu_clock", "gpu", of=("mean", "min")),
    Metric("temperature", "°C", lambda g: g.temperature_c).column("gpu_temperature", "gpu", of="max"),
    Metric("memory of the server", "bytes", lambda g: g.server_memory_bytes).column("gpu_server_memory", "gpu_more", of="max"),
    Metric("memory temperature", "°C", lambda g: g.memory_temperature_c).column("gpu_memory_temperature", "gpu_more", of="max"),
    Metric("energy", "J", lambda g: g.energy_j).column("gpu_energy", "gpu_more"),
    Metric("PCIe traffic", "bytes", lambda g: (g.pcie_rx_bytes_per_s, g.pcie_tx_bytes_per_s)).column("gpu_pcie", "gpu_more"),
    Metric("NVLink traffic", "bytes", lambda g: (g.nvlink_rx_bytes_per_s, g.nvlink_tx_bytes_per_s)).column("gpu_nvlink", "gpu_more"),
)


def _mean(levels: Iterable[Level | None]) -> float | None:
    means = [level.mean for level in levels if level]
    return sum(means) / len(means) if means else None


def _peaks(*levels: Level | None) -> tuple[float, ...]:
    return tuple(level.max for level in levels if level)


def _cores(worker: tuple[str, float] | None) -> float | None:
    return worker[1] if worker else None
