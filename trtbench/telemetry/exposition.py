"""The few series that are wanted from Triton's Prometheus page.

An exact reader of the wanted lines only: on a page of 60 lines it takes a twentieth of the time of a whole parser, four times a second.
Text format: prometheus.io/docs/instrumenting/exposition_formats. Families: Triton's docs/user_guide/metrics.md, the TensorRT-LLM
backend's custom_metrics_reporter.cc, whose names the CPU model uses too, and one of our own encoder (model_repo/encoder-openvino).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import NamedTuple

from trtbench.rundir.series import SeriesName


class Reading(NamedTuple):
    """A value under its name and label in docs/telemetry.md."""

    name: SeriesName
    label: str
    value: float


_ANY = "*"
_VERSION_DIGITS = 19  # a version is a 64-bit number
_WANTED: dict[str, tuple[str, dict[str, tuple[SeriesName, str]]]] = {
    # family: (the label that tells its series apart, {that label's value: (name, label) in docs/telemetry.md}); `_ANY`: each value a label
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
_OF_TRITON = "nv_inference_"
_FAMILIES = tuple(family + "{" for family in _WANTED)  # every one of them has labels: model and version at least
_OF_SERVER: dict[str, SeriesName] = {
    "nv_cache_num_entries": "response_cache_entries",
    "nv_cache_num_evictions": "response_cache_evictions",
    "nv_cache_util": "response_cache_used_ratio",
}
"""Families of the whole server, one series without labels. Triton sets them anew every --metrics-interval-ms only."""
_UNLABELLED = tuple(family + " " for family in _OF_SERVER)
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPE = re.compile(r"\\(.)")


def engine_readings(page: str, model: str, engine_model: str | None = None) -> list[Reading]:
    """What the page says of `model` ("": of any), of the highest version where several are served; what is no number is left out.

    `engine_model`: whose the engine's families are, where `model` is an ensemble around it ("": of any). Its versions are its own.
    """
    engine = model if engine_model is None else engine_model
    lines = [line for line in page.split("\n") if line.startswith(_FAMILIES)]
    of_triton, of_engine = ([line for line in lines if line.startswith(_OF_TRITON) is asked] for asked in (True, False))
    return [*_of_newest(of_triton, model), *_of_newest(of_engine, engine), *_of_server(page)]


def _of_newest(lines: Iterable[str], model: str) -> list[Reading]:
    by_version: dict[int, list[Reading]] = {}
    for line in lines:
        _collect(line, model, by_version)
    return by_version[max(by_version)] if by_version else []


def _of_server(page: str) -> list[Reading]:
    found = (line.partition(" ") for line in page.split("\n") if line.startswith(_UNLABELLED))
    readings = [Reading(_OF_SERVER[family], "", number(text)) for family, _, text in found]
    return [reading for reading in readings if math.isfinite(reading.value)]


def _collect(line: str, model: str, by_version: dict[int, list[Reading]]) -> None:
    family, _, rest = line.partition("{")
    labels_text, _, value_text = rest.rpartition("}")
    labels = {key: _unescape(value) for key, value in _LABEL.findall(labels_text)}
    key, names = _WANTED[family]
    told_apart_by = labels.get(key, "")
    series = (names[_ANY][0], told_apart_by) if _ANY in names else names.get(told_apart_by)
    version = labels.get("version", "")
    if (model and labels.get("model") != model) or series is None or not version.isdecimal() or len(version) > _VERSION_DIGITS:
        return
    value = number(value_text)
    if math.isfinite(value):
        by_version.setdefault(int(version), []).append(Reading(*series, value))


def number(text: str) -> float:
    """The value of `<value> [timestamp]`; not a number when it is torn off or none."""
    try:
        return float(text.split()[0])
    except (ValueError, IndexError):
        return math.nan


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda match: "\n" if match[1] == "n" else match[1], text) if "\\" in text else text
