"""Metrics by the keys, names, units and definitions of aiperf 0.13 (its JSON export of schema 1.4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from trtbench.analysis.stage.throughput import keeps
from trtbench.export.exported_stage import NS_PER_MS, ExportedStage, Floats, finite, per_second

PERCENTILES = (1, 5, 10, 25, 50, 75, 90, 95, 99)


@dataclass(frozen=True)
class OfRequests:
    """A metric of each request: values [m], NaN where a request has none."""

    key: str
    header: str
    unit: str
    values: Callable[[ExportedStage], Floats]


@dataclass(frozen=True)
class OfRun:
    """A metric with one value, or None where it does not exist."""

    key: str
    header: str
    unit: str
    value: Callable[[ExportedStage], float | None]


def _second_token(stage: ExportedStage) -> Floats:
    return np.array([gaps[0] if len(gaps) else np.nan for gaps in stage.gaps_ms], float)


def _late_ms(stage: ExportedStage) -> Floats:
    late: Floats = (stage.done.sent_ns - stage.done.due_ns) / NS_PER_MS
    return late


def _prefill(stage: ExportedStage) -> Floats:
    return per_second(stage.done.input_tokens, stage.ttft_ms)


def _end_to_end(stage: ExportedStage) -> Floats:
    return per_second(stage.output_tokens, stage.latency_ms)


_TOKENS, _PER_USER, _PER_S = "tokens", "tokens/sec/user", "tokens/sec"

OF_REQUESTS: tuple[OfRequests, ...] = (
    OfRequests("request_latency", "Request Latency", "ms", lambda s: s.latency_ms),
    OfRequests("time_to_first_token", "Time to First Token", "ms", lambda s: s.ttft_ms),
    OfRequests("time_to_second_token", "Time to Second Token", "ms", _second_token),
    OfRequests("inter_token_latency", "Inter Token Latency", "ms", lambda s: s.tpot_ms),
    OfRequests("output_token_throughput_per_user", "Output Token Throughput Per User", _PER_USER, lambda s: per_second(1, s.tpot_ms)),
    OfRequests("output_sequence_length", "Output Sequence Length", _TOKENS, lambda s: s.output_tokens.astype(float)),
    OfRequests("input_sequence_length", "Input Sequence Length", _TOKENS, lambda s: s.done.input_tokens.astype(float)),
    OfRequests("output_token_count", "Output Token Count", _TOKENS, lambda s: s.output_tokens.astype(float)),
    OfRequests("decode_duration", "Decode Duration", "ms", lambda s: s.latency_ms - s.ttft_ms),
    OfRequests("prefill_throughput_per_user", "Prefill Throughput Per User", _PER_USER, _prefill),
    OfRequests("e2e_output_token_throughput", "E2E Output Token Throughput", _PER_USER, _end_to_end),
    OfRequests("credit_to_start_latency", "Credit-to-Start Latency", "ms", _late_ms),
    OfRequests("effective_latency", "Effective Latency (CO-aware)", "ms", lambda s: s.latency_ms + _late_ms(s)),
)
"""The credit of a request is issued at its scheduled time. `inter_chunk_latency` is a list of each request and has functions of its own."""


def _good(stage: ExportedStage) -> float | None:
    return None if not stage.scenario.slo.model_dump(exclude_none=True) else float(keeps(stage.requests, stage.scenario.slo).sum())


def _goodput(stage: ExportedStage) -> float | None:
    good = _good(stage)
    return None if good is None else stage.rate(good)


def _failed(stage: ExportedStage) -> int:
    return len(stage.requests) - len(stage.done)


def _input(stage: ExportedStage) -> float:
    return float(stage.done.input_tokens.sum())


def _output(stage: ExportedStage) -> float:
    return float(stage.output_tokens.sum())


OF_RUN: tuple[OfRun, ...] = (
    OfRun("request_throughput", "Request Throughput", "requests/sec", lambda s: s.rate(len(s.done))),
    OfRun("request_count", "Request Count", "requests", lambda s: float(len(s.done))),
    OfRun("completed_request_count", "Completed Requests (Success + Error)", "requests", lambda s: float(len(s.requests))),
    OfRun("error_request_count", "Error Request Count", "requests", lambda s: float(_failed(s)) if _failed(s) else None),
    OfRun("request_error_rate", "Request Error Rate", "%", lambda s: 100 * _failed(s) / len(s.requests) if len(s.requests) else None),
    OfRun("good_request_count", "Good Request Count", "requests", _good),
    OfRun("goodput", "Goodput", "requests/sec", _goodput),
    OfRun("output_token_throughput", "Output Token Throughput", _PER_S, lambda s: s.rate(_output(s))),
    OfRun("input_token_throughput", "Input Token Throughput", _PER_S, lambda s: s.rate(_input(s))),
    OfRun("total_token_throughput", "Total Token Throughput", _PER_S, lambda s: s.rate(_input(s) + _output(s))),
    OfRun("total_output_tokens", "Total Output Tokens", _TOKENS, _output),
    OfRun("total_isl", "Total Input Sequence Length", _TOKENS, _input),
    OfRun("total_osl", "Total Output Sequence Length", _TOKENS, _output),
    OfRun("benchmark_duration", "Benchmark Duration", "sec", lambda s: s.seconds),
)


def distribution(values: Floats) -> dict[str, float | int]:
    """aiperf's statistics of values [k]: linear percentiles, deviation of the whole population; empty without values."""
    values = finite(values)
    if not len(values):
        return {}
    points = np.percentile(values, PERCENTILES)
    found: dict[str, float | int] = {"avg": float(values.mean())}
    found |= {f"p{rank}": float(point) for rank, point in zip(PERCENTILES, points, strict=True)}
    found |= {"min": float(values.min()), "max": float(values.max()), "std": float(values.std())}
    return found | {"count": len(values), "sum": float(values.sum())}
