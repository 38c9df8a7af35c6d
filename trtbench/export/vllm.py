"""The result file of `vllm bench serve --save-result --save-detailed` (vLLM 0.32): seconds in lists, milliseconds in figures."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import numpy as np

from trtbench.analysis.stage.throughput import keeps
from trtbench.export.exported_stage import NS_PER_S, ExportedStage, Floats, finite
from trtbench.export.writer import Files, Writer, json_line
from trtbench.rundir.requests import MISSING
from trtbench.scenario.load.stage import Ramp

_MS_PER_S = 1000


def _files(stage: ExportedStage) -> Files:
    return {"result.json": json_line(_head(stage) | _totals(stage) | _lists(stage) | _figures(stage))}


def _head(stage: ExportedStage) -> dict[str, Any]:
    asked = stage.asked
    closed = asked is None or asked.mode == "concurrency"
    level = asked.level if asked else None
    started_ns = int(stage.requests.due_ns.min()) if len(stage.requests) else 0
    return {
        "date": datetime.fromtimestamp(stage.wall_ns(started_ns) / NS_PER_S, tz=timezone.utc).strftime("%Y%m%d-%H%M%S"),
        "endpoint_type": "trtbench",
        "backend": "trtbench",
        "label": None,
        "model_id": stage.model,
        "tokenizer_id": None,
        "num_prompts": len(stage.requests),
        "request_rate": "inf" if closed or asked is None or isinstance(asked.rate, Ramp) else level,
        "burstiness": asked.burstiness or 1.0 if asked else None,
        "max_concurrency": asked.max_in_flight if asked and not closed else level and int(level),
    }


def _totals(stage: ExportedStage) -> dict[str, Any]:
    inputs, outputs = int(stage.done.input_tokens.sum()), int(stage.output_tokens.sum())
    slo = stage.scenario.slo
    return {
        "duration": stage.seconds,
        "completed": len(stage.done),
        "failed": len(stage.requests) - len(stage.done),
        "total_input_tokens": inputs,
        "total_output_tokens": outputs,
        "request_throughput": stage.rate(len(stage.done)),
        "request_goodput": stage.rate(float(keeps(stage.requests, slo).sum())) if slo.model_dump(exclude_none=True) else None,
        "output_throughput": stage.rate(outputs),
        "total_token_throughput": stage.rate(inputs + outputs),
    }


def _lists(stage: ExportedStage) -> dict[str, Any]:
    """One entry a request, 0 or empty for a failed one, as vLLM writes it."""
    requests, done = stage.requests, stage.completed
    messages = requests.texts("error")
    gaps = iter(stage.gaps_ms)
    sent = requests.sent_ns != MISSING
    queued = np.where(sent, (requests.sent_ns - requests.due_ns) / NS_PER_S, 0.0)
    return {
        "input_lens": requests.input_tokens,
        "output_lens": np.where(done, requests.output_tokens, 0),
        "ttfts": _spread(stage, np.nan_to_num(stage.ttft_ms) / _MS_PER_S),
        "itls": [next(gaps) / _MS_PER_S if completed else [] for completed in done.tolist()],
        "latencies": _spread(stage, stage.latency_ms / _MS_PER_S),
        "start_times": np.where(sent, requests.sent_ns / NS_PER_S, 0.0),
        "queue_times": queued,
        "errors": ["" if completed else messages.values[code] for code, completed in zip(messages.codes, done, strict=True)],
    }


def _spread(stage: ExportedStage, values: Floats) -> Floats:
    """Values of completed requests [m] at their places among all [n]; 0 elsewhere."""
    spread = np.zeros(len(stage.requests))
    spread[stage.completed] = values
    return spread


def _figures(stage: ExportedStage) -> dict[str, float]:
    """Mean, median, deviation of the whole population and linear p99 in ms; of no values 0, as in vLLM."""
    named = {
        "ttft": stage.ttft_ms,
        "tpot": stage.tpot_ms,
        "itl": np.concatenate([np.empty(0), *stage.gaps_ms]),
        "e2el": stage.latency_ms,
    }
    found = {}
    for name, values in named.items():
        values = finite(values) if len(finite(values)) else np.zeros(1)
        found[f"mean_{name}_ms"] = float(values.mean())
        found[f"median_{name}_ms"] = float(np.median(values))
        found[f"std_{name}_ms"] = float(values.std())
        found[f"p99_{name}_ms"] = float(np.percentile(values, 99))
    return found


VLLM = Writer(
    "vllm",
    _files,
    "texts of the answers, peaks of tokens and requests in one second, warm-ups, telemetry, findings and the verdict; latencies count from "
    "the send time, queue_times are the time from the scheduled time to the send time",
)
