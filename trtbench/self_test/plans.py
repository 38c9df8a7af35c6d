"""The loads of a calibration, as plans whose prompts carry the schedule that the server follows."""

from __future__ import annotations

import numpy as np

from trtbench.plan.arrivals import Offsets
from trtbench.plan.plan import Phase, Plan, PlannedPrompt, StagePlan
from trtbench.scenario.load.stage import Stage
from trtbench.system.clock import NS_PER_S

_MOST_US = 2**31 - 1
_WARMUP_GAP_NS = 1_000_000


def prompt(first_us: int, gap_us: int, responses: int) -> PlannedPrompt:
    """Ask for the first response after `first_us`, each further one `gap_us` later; a gap of 0: as fast as the socket takes them."""
    if not (0 <= first_us <= _MOST_US and 0 <= gap_us <= _MOST_US):
        raise ValueError(f"delays of {first_us} and {gap_us} us do not fit 31 bits")
    return PlannedPrompt(np.array([first_us, gap_us], np.int32), responses, seed=0)


_WARMUP = prompt(1000, 1000, 4)


def closed_loop(streams: int, asks: tuple[PlannedPrompt, ...], duration_s: float) -> Plan:
    """So many streams, each with its next request, of `asks` in turn, as soon as the one before is done."""
    return _plan(Stage(concurrency=streams, duration_s=duration_s, warmup_requests=streams), asks)


def one_request_each(streams: int, ask: PlannedPrompt) -> Plan:
    """So many streams at once, and no more after."""
    return _plan(Stage(concurrency=streams, requests=streams, warmup_requests=streams), (ask,) * streams)


def poisson(rate: float, ask: PlannedPrompt, duration_s: float) -> Plan:
    """`rate` x `duration_s` requests after exponential gaps; before them as many as one second has, up to 100, to warm up."""
    requests = max(round(rate * duration_s), 1)
    gaps_ns = np.random.default_rng(1).exponential(NS_PER_S / rate, requests)
    stage = Stage(mode="poisson", rate=rate, requests=requests, warmup_requests=min(round(rate) or 1, 100))
    return _plan(stage, (ask,), np.cumsum(gaps_ns).round().astype(np.int64), np.arange(stage.warmup_requests) * _WARMUP_GAP_NS)


def _plan(stage: Stage, asks: tuple[PlannedPrompt, ...], due_ns: Offsets | None = None, warmup_due_ns: Offsets | None = None) -> Plan:
    """A warm-up of one short request a stream, then `asks` in turn."""
    warmup = Phase(stage, True, (_WARMUP,) * stage.warmup_requests, len(asks), warmup_due_ns)
    return Plan((StagePlan(stage, warmup, Phase(stage, False, asks, 0, due_ns)),))
