"""The schedule of a phase, from its stage and the seed of arrivals: when requests are due, when users enter and leave, think times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from trtbench.plan.arrivals import Floats, Offsets, RateProfile, burst_offsets, due_offsets
from trtbench.plan.plan import PlannedPrompt
from trtbench.plan.rng import random_stream, think_ns
from trtbench.scenario.load.stage import Ramp, Stage, UserRamp
from trtbench.system.clock import NS_PER_S


def user_windows(first: int, last: int, steps: int | None, over_s: float) -> Offsets:
    """(Enter, leave) of each user in nanoseconds from the start, where -1 means that the user stays; shape [users, 2].

    The number of users changes from `first` to `last` over `over_s`: linearly, where the k-th change is when the line is at k - 1/2, so
    that the mean is that of the line; or in `steps` levels of equal duration. The last users to enter leave first.
    """
    changes_ns = np.rint(_changes_s(first, last, steps, over_s) * NS_PER_S).astype(np.int64)
    windows = np.full((max(first, last), 2), (0, -1), np.int64)
    if last > first:
        windows[first:, 0] = changes_ns
    else:
        windows[last:, 1] = changes_ns[::-1]
    return windows


def _changes_s(first: int, last: int, steps: int | None, over_s: float) -> Floats:
    """The instants at which the number of users changes by one, in ascending order; shape [abs(last - first)]."""
    changes = abs(last - first)
    if steps is None:
        return np.asarray((np.arange(changes) + 0.5) * (over_s / changes), np.float64)
    levels = np.floor(np.linspace(first, last, steps) + 0.5).astype(np.int64)
    return np.repeat(np.arange(1, steps, dtype=np.float64) * (over_s / steps), np.abs(np.diff(levels)))


def draw_offsets(stage: Stage, warmup: bool, seed: int) -> Offsets | None:
    """Due times of the units of an open loop; None for a closed loop. A warm-up has the same rates, and ends by its number of requests."""
    if stage.mode == "concurrency":
        return None
    requests, duration_s = (stage.warmup_requests, None) if warmup else (stage.requests, stage.duration_s)
    random = random_stream("arrivals", seed, stage, warmup)
    even = stage.mode == "constant" or (stage.mode == "burst" and stage.gaps == "constant")
    burstiness = None if even else stage.burstiness or 1.0
    if stage.on_s is not None and stage.off_s is not None:
        assert isinstance(stage.rate, float)
        return burst_offsets(stage.rate, stage.on_s, stage.off_s, burstiness, requests, duration_s, random)
    return due_offsets(rate_profile(stage), burstiness, requests, duration_s, random)


def rate_profile(stage: Stage) -> RateProfile:
    """The rates of an open loop without pauses."""
    rate = stage.rate
    assert rate is not None
    if not isinstance(rate, Ramp):
        return RateProfile.steady(rate)
    over_s = rate.over_s or stage.duration_s
    assert over_s is not None
    if rate.steps is None:
        return RateProfile.ramp(rate.first, rate.to, over_s)
    return RateProfile.staircase(rate.first, rate.to, rate.steps, over_s)


def fit_units(prompts: tuple[PlannedPrompt, ...], offsets: Offsets, counted: bool) -> tuple[tuple[PlannedPrompt, ...], Offsets]:
    """Fit the sessions of an open loop to its offsets: drop sessions that are never due, and, if requests are `counted`, offsets without
    prompts."""
    starts = [at for at, prompt in enumerate(prompts) if prompt.turn == 0]
    if len(starts) > len(offsets):
        return prompts[: starts[len(offsets)]], offsets
    return prompts, offsets[: len(starts)] if counted else offsets


def draw_users(stage: Stage) -> Offsets | None:
    """The times at which each user enters and leaves, in the shape of Phase; None if the number of users does not change."""
    ramp = stage.concurrency
    if not isinstance(ramp, UserRamp):
        return None
    over_s = ramp.over_s or stage.duration_s
    assert over_s is not None
    return user_windows(ramp.first, ramp.to, ramp.steps, over_s)


def with_think_times(prompts: Sequence[PlannedPrompt], stage: Stage, warmup: bool, seed: int) -> tuple[PlannedPrompt, ...]:
    """Prompts with the stage's think times before single requests and first turns. Think times inside a session are kept."""
    if stage.think_s is None:
        return tuple(prompts)
    pauses_ns = think_ns(stage.think_s, len(prompts), random_stream("think", seed, stage, warmup)).tolist()
    return tuple(prompt if prompt.turn else replace(prompt, think_ns=pause_ns) for prompt, pause_ns in zip(prompts, pauses_ns, strict=True))
