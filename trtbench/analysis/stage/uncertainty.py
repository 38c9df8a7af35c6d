"""How certain the figures of a stage are: intervals of its means, rates and error ratio, and whether it kept its level (metrics.md)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from trtbench.analysis.facts import NO_FIGURE
from trtbench.analysis.stage.latency import NS_PER_S, e2e_latency_ns, tpot_ns, ttft_ns
from trtbench.analysis.stage.outcomes import Conservation
from trtbench.analysis.stage.throughput import Throughput, Window, keeps, measured_window
from trtbench.analysis.stats.batch_means import BLOCKS, LEAST_VALUES, Floats, half_width, mean_half_width
from trtbench.analysis.stats.binomial import ratio_interval
from trtbench.analysis.stats.steadiness import Steadiness, steadiness
from trtbench.rundir.records import Outcome
from trtbench.rundir.requests import MISSING, Requests
from trtbench.scenario.load.measurement import Slo

_LEAST_LOADED = 0.5
"""The least share of the window that the time of sending takes. Below it, the stage is mostly drain."""
_FEW = 20


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """The uncertainty of one stage's figures.

    `half_widths`: half the width of the 95 % interval of a mean or a rate, by the figure's name, in its unit; a figure is missing with
    fewer than 100 completed requests, or if the stage is too short for its own dependence. `error_ratio`: its 95 % interval, or None
    without requests. `steadiness`: of the end-to-end latencies in the order of due times; None if the load changed as planned, or with too
    few requests. `request_blocks`, `token_blocks`: throughput in each of ten equal parts of the time in which requests were sent; empty
    with fewer than 20 requests.
    """

    half_widths: dict[str, float] = field(default_factory=dict)
    error_ratio: tuple[float, float] | None = None
    steadiness: Steadiness | None = None
    request_blocks: tuple[float, ...] = field(default=(), metadata=NO_FIGURE)
    token_blocks: tuple[float, ...] = field(default=(), metadata=NO_FIGURE)

    @property
    def changed(self) -> bool:
        """Whether the stage is known not to be steady."""
        return self.steadiness is not None and self.steadiness.changed


def uncertainty(
    requests: Requests,
    equation: Conservation,
    rates: Throughput,
    slo: Slo,
    duration_s: float | None,
    users: float | None,
    one_level: bool,
) -> Uncertainty:
    """The uncertainty of one stage from its measured requests. `users`: of a closed loop, else None. `one_level`: whether its load was
    planned to stay the same.
    """
    done = requests.completed
    done = done.select(done.done_ns != MISSING)
    answered, paced = done.select(done.responses > 0), done.select((done.responses > 1) & (done.output_tokens > 1))
    latencies = _in_order(e2e_latency_ns(done), done)
    window = measured_window(requests, duration_s)
    blocks = {} if window is None or len(done) < 2 * BLOCKS else _rate_blocks(requests, window, rates, slo)
    means = {"ttft_ns": _in_order(ttft_ns(answered), answered), "tpot_ns": _in_order(tpot_ns(paced), paced), "e2e_latency_ns": latencies}
    widths = {name: round(width) for name, values in means.items() if (width := mean_half_width(values)) is not None}
    in_flight = users or (float(latencies.sum()) / NS_PER_S / rates.window_s if rates.window_s else 1.0)
    return Uncertainty(
        half_widths={**(_rate_widths(blocks, rates) if len(done) >= LEAST_VALUES else {}), **widths},
        error_ratio=_error_interval(requests, equation),
        steadiness=steadiness(latencies, in_flight) if one_level else None,
        request_blocks=tuple(blocks["request_throughput"].tolist()) if "request_throughput" in blocks else (),
        token_blocks=tuple(blocks["output_token_throughput"].tolist()) if "output_token_throughput" in blocks else (),
    )


def _in_order(values: npt.NDArray[Any], requests: Requests) -> npt.NDArray[Any]:
    """Values of these requests, one each, in the order of due times."""
    ordered: npt.NDArray[Any] = values[np.argsort(requests.due_ns, kind="stable")]
    return ordered


def _rate_blocks(requests: Requests, window: Window, rates: Throughput, slo: Slo) -> dict[str, Floats]:
    """The rates that the stage has, per second of each block; {} if the stage is mostly drain.

    A request counts evenly from its sending to its end, so that requests which end together do not look like a change of the rate.
    """
    ended = requests.select((requests.sent_ns != MISSING) & (requests.done_ns != MISSING))
    last_ns = int(ended.sent_ns.max()) if len(ended) else window.start_ns
    if (last_ns - window.start_ns) / NS_PER_S < _LEAST_LOADED * window.seconds or not window.seconds:
        return {}
    edges = np.linspace(window.start_ns, last_ns, BLOCKS + 1)
    completed = ended.ended(Outcome.COMPLETED)
    amounts: dict[str, npt.NDArray[Any]] = {"request_throughput": completed, "output_token_throughput": ended.output_tokens}
    if rates.goodput is not None:
        amounts["goodput"] = keeps(ended, slo)
    known = {name: amount for name, amount in amounts.items() if getattr(rates, name)}
    return {name: progress(ended, amount, edges) / np.diff(edges) * NS_PER_S for name, amount in known.items()}


def progress(requests: Requests, amounts: npt.NDArray[Any], edges_ns: npt.NDArray[Any]) -> Floats:
    """The amount that the requests completed between consecutive edges, where each request completes its own evenly from its sending to its
    end.
    """
    lengths = np.maximum(requests.done_ns - requests.sent_ns, 1)
    until = [float((amounts * np.clip((edge - requests.sent_ns) / lengths, 0.0, 1.0)).sum()) for edge in edges_ns.tolist()]
    return np.diff(until)


def _rate_widths(blocks: dict[str, Floats], rates: Throughput) -> dict[str, float]:
    """Half widths of the rates. The relative width is that of the blocks; the rate is that of the whole window."""
    found = {}
    for name, per_second in blocks.items():
        width, mean = half_width(per_second), float(per_second.mean())
        if width is not None and mean > 0:
            found[name] = width / mean * getattr(rates, name)
    return found


def _error_interval(requests: Requests, equation: Conservation) -> tuple[float, float] | None:
    """The interval by Clopper and Pearson; of many errors and many others at least as wide as that of block means, because errors come in
    bursts.
    """
    failed, planned = equation.planned - equation.completed - equation.cancelled_as_planned, equation.planned
    if not planned:
        return None
    lower, upper = ratio_interval(failed, planned)
    if min(failed, planned - failed) >= _FEW:
        errors = _in_order(~requests.ended(Outcome.COMPLETED), requests)
        width, ratio = mean_half_width(errors) or 0.0, failed / planned
        lower, upper = max(min(lower, ratio - width), 0.0), min(max(upper, ratio + width), 1.0)
    return lower, upper
