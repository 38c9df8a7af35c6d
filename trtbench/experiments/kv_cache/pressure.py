"""Whether the KV budget delays requests, and how many requests it should carry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from trtbench.analysis.experiment_analysis import DeploymentRecords
from trtbench.analysis.found import Key
from trtbench.analysis.stats.window import increase, inside
from trtbench.rundir.requests import Requests
from trtbench.rundir.samples import Samples

KV_PRESSURES: Key[tuple[KvPressure, ...]] = Key("kv_pressures")
KV_CAPACITY: Key[KvCapacity | None] = Key("kv_capacity")


@dataclass(frozen=True, slots=True)
class Held:
    """A number of requests that do not run: its peak, and the share of readings above 0."""

    peak: int
    ratio: float

    @classmethod
    def of(cls, values: npt.NDArray[np.float64]) -> Held | None:
        return cls(int(values.max()), float(np.mean(values > 0))) if len(values) else None


@dataclass(frozen=True, slots=True)
class KvPressure:
    """The KV pressure of one stage. `users` is None for an open loop.

    `fit_mean` and `fit_longest`: floor(blocks / ceil((input + output) / block tokens)) for the mean and the longest planned request,
    with no block shared. `held_back_ratio`: the share of readings in which requests wait or are paused while fewer blocks are free than
    one longest request needs; None if used blocks may be cached ones that the engine would free. `reused_blocks` is the increase of the
    engine's own count, and `hit_ratio` is that x block tokens / input tokens; None if the engine does not report it.
    """

    stage: str
    users: float | None
    blocks: int
    request_tokens_mean: float
    request_tokens_longest: int
    fit_mean: int
    fit_longest: int
    waiting: Held | None
    paused: Held | None
    held_back_ratio: float | None
    reused_blocks: int | None
    hit_ratio: float | None


@dataclass(frozen=True, slots=True)
class KvCapacity:
    """The KV capacity over the closed-loop stages of one level: the highest number of users that the KV cache never delayed, below the
    first that it did.

    A value is None if no stage shows it. The predictions are the numbers that fit if all requests were as long as the longest, and as
    the mean.
    """

    carried_users: float | None
    held_back_users: float | None
    predicted_least: int | None = None
    predicted_most: int | None = None

    @property
    def agrees(self) -> bool | None:
        """Whether a predicted number is where the stages found the limit; None if no request was delayed."""
        if self.held_back_users is None or self.predicted_least is None or self.predicted_most is None:
            return None
        return self.predicted_least < self.held_back_users and self.predicted_most >= (self.carried_users or 0)


def kv_pressures(records: DeploymentRecords) -> tuple[KvPressure, ...]:
    requests, samples, may_cache = records.requests, records.samples, records.facts.may_cache_prefixes
    found = []
    for stage in records.stages:
        span, users = stage.span, stage.level if stage.is_closed_loop and stage.held_level else None
        found.append(kv_pressure(span.name, users, requests.stage(span.name), samples, span.start_ns, span.end_ns, may_cache))
    return tuple(pressure for pressure in found if pressure)


def kv_pressure(
    name: str, users: float | None, requests: Requests, samples: Samples, start_ns: int, end_ns: int, may_cache: bool
) -> KvPressure | None:
    """The way in which the KV cache limited a stage, or None if the engine reports no KV blocks or the stage has no requests."""
    used = inside(samples.series("kv_blocks_used"), start_ns, end_ns)
    blocks, block_tokens = (samples.series(series)[1] for series in ("kv_blocks_max", "kv_block_tokens"))
    if not len(used) or not len(blocks) or not len(block_tokens) or blocks[-1] <= 0 or block_tokens[-1] <= 0 or not len(requests):
        return None
    lengths = requests.input_tokens + requests.asked_output_tokens
    mean, longest = int(lengths.sum()) / len(lengths), int(lengths.max())
    need_longest = math.ceil(longest / block_tokens[-1])
    waiting = inside(samples.series("inflight_waiting_requests"), start_ns, end_ns)
    paused = inside(samples.series("inflight_paused_requests"), start_ns, end_ns)
    reused = increase(samples.series("kv_blocks_reused"), start_ns, end_ns)
    sent_tokens = int(requests.input_tokens[requests.responses > 0].sum())
    return KvPressure(
        stage=name,
        users=users,
        blocks=int(blocks[-1]),
        request_tokens_mean=mean,
        request_tokens_longest=longest,
        fit_mean=int(blocks[-1] // math.ceil(mean / block_tokens[-1])),
        fit_longest=int(blocks[-1] // need_longest),
        waiting=Held.of(waiting),
        paused=Held.of(paused),
        held_back_ratio=None if may_cache else _held_back_ratio(waiting, paused, blocks[-1] - used < need_longest),
        reused_blocks=None if reused is None else round(reused),
        hit_ratio=float(reused * block_tokens[-1] / sent_tokens) if reused is not None and sent_tokens else None,
    )


def _held_back_ratio(waiting: npt.NDArray[np.float64], paused: npt.NDArray[np.float64], full: npt.NDArray[np.bool_]) -> float | None:
    """The share of readings with a full cache and requests that wait or are paused, or None unless all gauges were read together."""
    if len(waiting) != len(full) or len(paused) not in (0, len(full)):
        return None
    held = waiting > 0 if not len(paused) else (waiting > 0) | (paused > 0)
    return float(np.mean(held & full))


def kv_capacity(stages: Sequence[KvPressure]) -> KvCapacity | None:
    """The capacity that the stages show, in any order; None without a closed loop whose pressure is known."""
    held_level = [stage for stage in stages if stage.users and stage.held_back_ratio is not None]
    known = sorted((stage.users or 0, stage.held_back_ratio or 0) for stage in held_level)
    if not known:
        return None
    first = next((users for users, ratio in known if ratio > 0), None)
    carried = [users for users, ratio in known if ratio == 0 and (first is None or users < first)]
    least, most = min(stage.fit_longest for stage in held_level), max(stage.fit_mean for stage in held_level)
    return KvCapacity(carried[-1] if carried else None, first, least, most)
