"""trtllm-serve's times of each finished request (/perf_metrics), summed as counters.

A reading of the page takes the requests off it, so only the sampler's process reads it. The server has it with `return_perf_metrics` and
`perf_metrics_max_requests`, which also bounds how many requests it keeps between two readings. Keys: get_perf_metrics of TensorRT-LLM's
tensorrt_llm/serve/openai_server.py; instants are seconds of the server's clock.
"""

from __future__ import annotations

import http.client
import json
import math
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from typing import Any
from urllib.parse import urljoin

from trtbench.rundir.records import Sample
from trtbench.rundir.series import SeriesName
from trtbench.system.clock import NS_PER_S, now_ns
from trtbench.telemetry.page import Page

_SPANS: Mapping[SeriesName, tuple[str, str]] = {
    "front_end_in_ns": ("server_arrival_time", "arrival_time"),
    "engine_queue_ns": ("arrival_time", "first_scheduled_time"),
    "engine_prefill_ns": ("first_scheduled_time", "first_token_time"),
    "engine_decode_ns": ("first_token_time", "last_token_time"),
    "front_end_out_ns": ("first_token_time", "server_first_token_time"),
}
_BLOCKS: Mapping[str, tuple[SeriesName, ...]] = {
    "num_reused_blocks": ("prefix_cache_queries", "prefix_cache_hits"),
    "num_missed_blocks": ("prefix_cache_queries",),
}


class RequestMetrics:
    """The page of one server, the connection kept open."""

    def __init__(self, url: str, timeout_s: float) -> None:
        """ValueError for an invalid `url`. `timeout_s`: longest time of one reading."""
        self._page = Page(url, timeout_s)
        self._totals: Counter[SeriesName] = Counter({"engine_requests": 0})

    def read(self) -> list[Sample]:
        """The sums up to now; ValueError for another page, else as Page.read."""
        for request in requests_of(self._page.read()):
            self._totals.update(_sums(request))
        time_ns = now_ns()
        return [Sample(time_ns, name, "", float(value)) for name, value in self._totals.items()]

    def close(self) -> None:
        self._page.close()


def page_beside(metrics_url: str, timeout_s: float) -> str | None:
    """The page of finished requests on the server that has `metrics_url`, or None where it has none."""
    url = urljoin(metrics_url, "perf_metrics")
    try:
        with closing(Page(url, timeout_s)) as page:
            requests_of(page.read())
    except (OSError, http.client.HTTPException, ValueError, RecursionError):
        return None
    return url


def requests_of(page: str) -> list[Mapping[str, Any]]:
    """The metrics of each request on the page; ValueError for another page."""
    rows = json.loads(page)
    if not isinstance(rows, list) or not all(isinstance(row, dict) and isinstance(row.get("perf_metrics"), dict) for row in rows):
        raise ValueError("not a list of requests with perf_metrics")
    return [row["perf_metrics"] for row in rows]


def _sums(request: Mapping[str, Any]) -> Counter[SeriesName]:
    """What one request adds. An instant that the server does not know is null, and its spans add nothing."""
    instants, blocks = (found if isinstance(found := request.get(key), dict) else {} for key in ("timing_metrics", "kv_cache_metrics"))
    sums: Counter[SeriesName] = Counter({"engine_requests": 1})
    for name, (begin, end) in _SPANS.items():
        begun, ended = _number(instants.get(begin)), _number(instants.get(end))
        if begun and ended:
            sums[name] += max(0, round((ended - begun) * NS_PER_S))
    for key, names in _BLOCKS.items():
        for name in names:
            sums[name] += round(_number(blocks.get(key)) or 0)
    return sums


_HIGHEST = 1e15


def _number(value: object) -> float | None:
    known = isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < _HIGHEST and math.isfinite(value)
    return float(value) if known else None  # type: ignore[arg-type]
