"""The blocks of trtllm-bench's --report_json that a run can fill: request_info, performance, streaming_metrics and dataset."""

from __future__ import annotations

from typing import Any

import numpy as np

from trtbench.export.exported_stage import ExportedStage, Floats, finite, per_second
from trtbench.export.writer import Files, Writer, json_text

_RANKS = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99}


def _files(stage: ExportedStage) -> Files:
    inputs, outputs = stage.done.input_tokens.astype(float), stage.output_tokens.astype(float)
    report = {
        "engine": {"model": stage.model, "backend": stage.deployment},
        "request_info": {
            "num_requests": len(stage.done),
            "avg_num_concurrent_requests": stage.rate(stage.latency_ms.sum() / 1000),
            "avg_input_length": _mean(inputs),
            "avg_output_length": _mean(outputs),
        },
        "performance": _performance(stage, inputs, outputs),
        "streaming_metrics": {
            "token_output_speed_tok_s": _mean(per_second(1, stage.tpot_ms)),
            "avg_ttft_ms": _mean(stage.ttft_ms),
            "avg_tpot_ms": _mean(stage.tpot_ms),
            "tpot_percentiles": _percentiles(stage.tpot_ms),
            "ttft_percentiles": _percentiles(stage.ttft_ms),
            "gen_tps_percentiles": _percentiles(per_second(1, stage.tpot_ms)),
        },
        "dataset": {
            "isl_stats": _percentiles(inputs),
            "osl_stats": _percentiles(outputs),
            "seq_len_stats": _percentiles(inputs + outputs),
            "num_requests": len(stage.done),
        },
    }
    return {"report.json": json_text(report)}


def _performance(stage: ExportedStage, inputs: Floats, outputs: Floats) -> dict[str, Any]:
    return {
        "total_latency_ms": 1000 * stage.seconds,
        "avg_request_latency_ms": _mean(stage.latency_ms),
        "request_throughput_req_s": stage.rate(len(stage.done)),
        "system_output_throughput_tok_s": stage.rate(outputs.sum()),
        "system_total_throughput_tok_s": stage.rate(inputs.sum() + outputs.sum()),
        "output_throughput_per_user_tok_s": _mean(per_second(outputs, stage.latency_ms)),
        "request_latency_percentiles_ms": _percentiles(stage.latency_ms),
    }


def _mean(values: Floats) -> float | None:
    values = finite(values)
    return float(values.mean()) if len(values) else None


def _percentiles(values: Floats) -> dict[str, float] | None:
    """trtllm-bench's percentiles: the value at position int(n * q) of the sorted values."""
    values = np.sort(finite(values))
    if not len(values):
        return None
    ranks = {name: float(values[min(int(len(values) * rank), len(values) - 1)]) for name, rank in _RANKS.items()}
    return ranks | {"minimum": float(values[0]), "maximum": float(values[-1]), "average": float(values.mean())}


TRTLLM_BENCH = Writer(
    "trtllm-bench",
    _files,
    "engine and machine as trtllm-bench knows them (machine, world_info, decoding_stats, energy), failed requests, warm-ups, telemetry, "
    "findings and the verdict; latencies count from the send time",
)
