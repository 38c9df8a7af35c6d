"""The few series that are used of Triton's Prometheus page.

Only their lines are given to prometheus-client's parser: the sampler reads the page four times a second, and a server of many models has
thousands of other lines (`python benchmarks/metrics_page.py` measures both).
Families: Triton's docs/user_guide/metrics.md, the TensorRT-LLM backend's custom_metrics_reporter.cc, whose names the CPU model also uses,
and one of trtbench's encoder model (model_repo/encoder-openvino).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from trtbench.rundir.series import SeriesName

if TYPE_CHECKING:
    from prometheus_client.samples import Sample as PageSeries


class Reading(NamedTuple):
    """A value under its name and label in docs/telemetry.md."""

    name: SeriesName
    label: str
    value: float


_ANY = "*"
_VERSION_DIGITS = 19  # a version is a 64-bit number
_WANTED: dict[str, tuple[str, dict[str, tuple[SeriesName, str]]]] = {
    # family: (the label that distinguishes its series, {value of that label: (name, label) in docs/telemetry.md}); `_ANY`: every value
    "nv_inference_pending_request_count": ("", {"": ("triton_pending_requests", "")}),
    "nv_trt_llm_request_metrics": (
        "request_type",
        {
            "active": ("inflight_active_requests", ""),
            "scheduled": ("inflight_scheduled_requests", ""),
            "waiting": ("inflight_waiting_requests", ""),
            "context": ("inflight_context_requests", ""),
            "max": ("inflight_max_requests", ""),
        },
    ),
    "nv_trt_llm_inflight_batcher_metrics": (
        "inflight_batcher_specific_metric",
        {
            "total_context_tokens": ("inflight_context_tokens", ""),
            "generation_requests": ("inflight_generation_requests", ""),
            "paused_requests": ("inflight_paused_requests", ""),
        },
    ),
    "nv_trt_llm_kv_cache_block_metrics": (
        "kv_cache_block_type",
        {
            "max": ("kv_blocks_max", ""),
            "used": ("kv_blocks_used", ""),
            "free": ("kv_blocks_free", ""),
            "reused": ("kv_blocks_reused", ""),
            "tokens_per": ("kv_block_tokens", ""),
        },
    ),
    "nv_trt_llm_runtime_memory_metrics": (
        "memory_type",
        {kind: ("engine_memory_bytes", kind) for kind in ("cpu", "gpu", "pinned")},
    ),
    "trtbench_encoder_tokens": ("token_type", {kind: ("encoder_tokens", kind) for kind in ("input", "padding")}),
    "nv_trt_llm_general_metrics": ("general_type", {"iteration_counter": ("engine_iterations", "")}),
    "nv_llm_input_token_len_sum": ("response_metric_type", {"total_input_tokens": ("engine_input_tokens", "")}),
    "nv_llm_output_token_len_sum": ("response_metric_type", {"total_output_tokens": ("engine_output_tokens", "")}),
    "trtbench_engine_steps": ("scheduled_requests", {_ANY: ("inflight_steps", "")}),
    "trtbench_engine_tokens": ("made", {_ANY: ("inflight_tokens", "")}),
}
_OF_SERVER: dict[str, SeriesName] = {
    "nv_cache_num_entries": "response_cache_entries",
    "nv_cache_num_evictions": "response_cache_evictions",
    "nv_cache_util": "response_cache_used_ratio",
}
"""Families of the whole server, one series without labels. Triton updates them only every --metrics-interval-ms."""
_LINES_OF_TRITON = tuple(family + "{" for family in _WANTED if family.startswith("nv_inference_"))
_LINES_OF_ENGINE = tuple(family + "{" for family in _WANTED if not family.startswith("nv_inference_"))
_LINES_OF_SERVER = tuple(family + " " for family in _OF_SERVER)


def series_of(lines: Iterable[str], beginnings: tuple[str, ...], part: str = "") -> Iterator[PageSeries]:
    """The series whose lines have one of `beginnings` and contain `part`. A line that is invalid or has no finite value is left out."""
    from prometheus_client.parser import text_string_to_metric_families  # 0.04 s, which only the sampler's process spends

    for line in lines:
        if line.startswith(beginnings) and part in line:
            with suppress(ValueError, IndexError, OverflowError):
                (family,) = text_string_to_metric_families(line)
                yield from (series for series in family.samples if math.isfinite(series.value))


def engine_readings(page: str, model: str, engine_model: str | None = None) -> list[Reading]:
    """Readings of the highest version of `model` ("": any model) on the page.

    `engine_model`: the model that has the engine's families ("": any), with its own versions, where `model` is an ensemble around it.
    """
    lines = page.split("\n")
    of_triton = _of_newest(lines, _LINES_OF_TRITON, model)
    of_engine = _of_newest(lines, _LINES_OF_ENGINE, model if engine_model is None else engine_model)
    of_server = [Reading(_OF_SERVER[series.name], "", float(series.value)) for series in series_of(lines, _LINES_OF_SERVER)]
    return [*of_triton, *of_engine, *of_server]


def _of_newest(lines: Iterable[str], beginnings: tuple[str, ...], model: str) -> list[Reading]:
    by_version: dict[int, list[Reading]] = {}
    for series in series_of(lines, beginnings, f'model="{_escaped(model)}"' if model else ""):
        version = series.labels.get("version", "")
        is_asked = not model or series.labels.get("model") == model
        if is_asked and version.isdecimal() and len(version) <= _VERSION_DIGITS and (named := _name_and_label(series)):
            by_version.setdefault(int(version), []).append(Reading(*named, float(series.value)))
    return by_version[max(by_version)] if by_version else []


def _name_and_label(series: PageSeries) -> tuple[SeriesName, str] | None:
    key, names = _WANTED[series.name]
    value = series.labels.get(key, "")
    return (names[_ANY][0], value) if _ANY in names else names.get(value)


def _escaped(label: str) -> str:
    return label.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
