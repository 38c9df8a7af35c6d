"""The bootstrap of each metric that can be computed again from the requests of a stage. Other metrics are compared by their values only."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from trtbench.analysis.named_figures import NamedFigure
from trtbench.analysis.stage.latency import NS_PER_S
from trtbench.analysis.stage.outcomes import cancelled_as_planned
from trtbench.analysis.stage.throughput import keeps, measured_window
from trtbench.analysis.stats.bootstrap import Bootstrap, Floats, Ints, design_effect, of_percentile, of_ratio
from trtbench.analysis.stats.percentile import needed_samples
from trtbench.compare.interval import ShareInterval
from trtbench.rundir.records import Outcome
from trtbench.rundir.requests import MISSING, Requests
from trtbench.scenario.load.measurement import Slo

_INSTANTS = {
    "ttft": ("due_ns", "first_token_ns"),
    "ttfo": ("due_ns", "first_output_ns"),
    "first_response": ("due_ns", "first_token_ns"),
    "e2e_latency": ("due_ns", "done_ns"),
    "ttft_from_sent": ("sent_ns", "first_token_ns"),
    "e2e_latency_from_sent": ("sent_ns", "done_ns"),
    "server_queue": ("server.arrival_ns", "server.first_scheduled_ns"),
    "server_prefill": ("server.first_scheduled_ns", "server.first_token_ns"),
    "server_decode": ("server.first_token_ns", "server.last_token_ns"),
}
"""Latencies between two instants of a request, as stage/latency.py has them."""


@dataclass(frozen=True, slots=True)
class Pooled:
    """Values [m] of a latency; value i belongs to the request `units[i]` of `count` in the order of due times."""

    values: Floats
    units: Ints
    count: int


class StageRequests:
    """The measured requests of one stage. `planned`, `duration_s` and `slo` are those of the stage and its scenario."""

    def __init__(self, requests: Requests, planned: int, duration_s: float | None, slo: Slo) -> None:
        self._requests, self._planned, self._duration_s, self._slo = requests, planned, duration_s, slo
        self._done = requests.completed

    def bootstrap(self, metric: NamedFigure, value: float, seed: str) -> Bootstrap | None:
        """The bootstrap of a mean, a percentile or a rate around its `value` in the summary; None if the metric has none here, or too few
        requests. The same requests and seed give the same draws.
        """
        random = np.random.default_rng(zlib.crc32(f"{seed} {metric.name}".encode()))
        found = self._latency(metric, random) if metric.metric.row else self._rate(metric.name, random)
        return found.at(value) if found else None

    def share(self, metric: NamedFigure, value: float) -> ShareInterval | None:
        """The interval of a share of the planned requests; None if the metric is not such a share."""
        if metric.name not in ("error_ratio", "goodput_ratio"):
            return None
        order = np.argsort(self._requests.due_ns, kind="stable")
        cancelled = cancelled_as_planned(self._requests)
        good = keeps(self._requests, self._slo) if metric.name == "goodput_ratio" else self._requests.ended(Outcome.COMPLETED) | cancelled
        judged = self._planned - (int(cancelled.sum()) if metric.name == "goodput_ratio" else 0)
        return ShareInterval(value, judged / design_effect(good[order].astype(float))) if judged > 0 and len(order) else None

    def lacking(self, metric: NamedFigure) -> int:
        """How many values a percentile lacks to be stated at all; 0 if it is not a percentile of requests."""
        pooled = self._pooled(metric.metric.name) if metric.permille else None
        return max(0, needed_samples(metric.permille or 0) - len(pooled.values)) if pooled and len(pooled.values) else 0

    def _latency(self, metric: NamedFigure, random: np.random.Generator) -> Bootstrap | None:
        pooled = self._pooled(metric.metric.name)
        if pooled is None:
            return None
        if metric.part == "mean":
            amounts = np.bincount(pooled.units, pooled.values, pooled.count).astype(np.float64)
            return of_ratio(amounts, np.bincount(pooled.units, minlength=pooled.count).astype(float), random)
        if metric.permille is None:
            return None
        return of_percentile(pooled.values, pooled.units, pooled.count, metric.permille, random)

    def _rate(self, name: str, random: np.random.Generator) -> Bootstrap | None:
        """Amounts of the requests that ended in the window, over the times between their ends."""
        window = measured_window(self._requests, self._duration_s)
        if window is None:
            return None
        done = self._requests.select(self._requests.ended(Outcome.COMPLETED) & window.holds(self._requests.done_ns))
        amounts = self._amounts(name, done)
        if amounts is None:
            return None
        order = np.argsort(done.done_ns, kind="stable")
        seconds = np.diff(done.done_ns[order], prepend=window.start_ns) / NS_PER_S
        return of_ratio(amounts[order], seconds, random, (done.done_ns - done.due_ns)[order].astype(float))

    def _amounts(self, name: str, done: Requests) -> Floats | None:
        if name in ("request_throughput", "inference_throughput"):
            return np.ones(len(done))
        if name == "goodput":
            return keeps(done, self._slo).astype(float)
        columns = {"output_token_throughput": done.output_tokens, "input_token_throughput": done.input_tokens}
        return columns[name].astype(float) if name in columns else None

    def _pooled(self, name: str) -> Pooled | None:
        done = self._done
        place = np.empty(len(done), np.int64)
        place[np.argsort(done.due_ns, kind="stable")] = np.arange(len(done))
        if name in _INSTANTS:
            starts, ends = (done.column(column) for column in _INSTANTS[name])
            known = (starts != MISSING) & (ends != MISSING)
            return _in_order((ends - starts)[known], place[known])
        if name in ("tpot", "token_rate_per_user"):
            seen = (done.responses > 1) & (done.output_tokens > 1)
            tpot = (done.last_token_ns - done.first_token_ns)[seen] / (done.output_tokens[seen] - 1)
            return _in_order(tpot, place[seen]) if name == "tpot" else _in_order(NS_PER_S / tpot[tpot > 0], place[seen][tpot > 0])
        if name in ("itl", "response_gap"):
            return _gaps(done, place)
        return None


def _gaps(done: Requests, place: Ints) -> Pooled | None:
    values, units = [], []
    for tokens in done.tokens():
        gaps = tokens.arrivals.gaps()
        values.append(gaps.values)
        units.append(np.repeat(place[tokens.at], gaps.lengths))
    return _in_order(np.concatenate(values), np.concatenate(units)) if values else None


def _in_order(values: Ints | Floats, places: Ints) -> Pooled:
    """The values with the requests that have any, numbered in their order without gaps."""
    kept, units = np.unique(places, return_inverse=True)
    return Pooled(values.astype(float), units.astype(np.int64), len(kept))
