"""The context limit that a search found, from its trials, their requests and the samples of that time; and the growth of cost with
length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from statistics import fmean
from typing import Literal

import numpy as np

from trtbench.analysis.facts import DeploymentFacts
from trtbench.analysis.found import Key
from trtbench.analysis.stats.trends import fit_line
from trtbench.experiments.context_limit.trials import Basis, FailureClass, MemoryShort, TrialResult, trial_result
from trtbench.rundir.event_kinds import ServerLost
from trtbench.rundir.events import every, first
from trtbench.rundir.experiment_events import ContextSearchFinished, ContextSearchStarted, ContextTrial
from trtbench.rundir.records import Event, RequestRecord
from trtbench.rundir.requests import Requests
from trtbench.rundir.samples import Samples

CostFigure = Literal["ttft_ns", "kv_used_blocks_peak", "server_rss_bytes_peak", "gpu_memory_bytes_peak"]
_FEWEST_LENGTHS = 3


@dataclass(frozen=True, slots=True)
class Growth:
    """A least-squares fit over a number of different `lengths`, from the shortest to the longest.

    `law` power: y = base x length^slope; line: y = base + slope x length. `explained_ratio` is R squared, of a power law on the
    logarithms; None if all y are equal.
    """

    users: int
    figure: CostFigure
    law: Literal["power", "line"]
    lengths: int
    shortest_tokens: int
    longest_tokens: int
    base: float
    slope: float
    explained_ratio: float | None

    def at(self, tokens: float) -> float:
        """The value of the law at a length."""
        return float(self.base * tokens**self.slope) if self.law == "power" else self.base + self.slope * tokens


def power_growth(users: int, figure: CostFigure, points: Iterable[tuple[int, float]]) -> Growth | None:
    """A power law through pairs (length, value above 0), using the mean of the logarithms at each length; None below three lengths."""
    fitted = _fit((math.log(x), math.log(y), x) for x, y in points if y > 0)
    return fitted and Growth(users, figure, "power", *fitted[:3], math.exp(fitted[3]), *fitted[4:])


def linear_growth(users: int, figure: CostFigure, points: Iterable[tuple[int, float]]) -> Growth | None:
    """A line through pairs (length, value), using the mean at each length; None below three lengths."""
    fitted = _fit((float(x), y, x) for x, y in points)
    return fitted and Growth(users, figure, "line", *fitted)


def _fit(points: Iterable[tuple[float, float, int]]) -> tuple[int, int, int, float, float, float | None] | None:
    """(Lengths, the shortest, the longest, intercept, slope, R squared) of (x, y, length)."""
    by_length: dict[int, tuple[float, list[float]]] = {}
    for x, y, length in points:
        by_length.setdefault(length, (x, []))[1].append(y)
    if len(by_length) < _FEWEST_LENGTHS:
        return None
    line = fit_line([x for x, _ in by_length.values()], [fmean(values) for _, values in by_length.values()])
    return len(by_length), min(by_length), max(by_length), line.intercept, line.slope, line.explained_ratio


PredictedBy = Literal["positions", "prompt", "kv_budget"]
"""The rules that can set the longest prompt. prompt: the longest that the engine takes, whatever its positions (TensorRT-LLM without
chunked context: what one step holds).
"""

CONTEXT_LIMITS: Key[ContextLimits | None] = Key("context_limits")


@dataclass(frozen=True, slots=True)
class Limit:
    """The longest prompt at `users` prompts at once. `confirmed` and `refuted`: how many repeated trials had the same result, and
    another one. `basis`: what the class of the failure is derived from.

    `passed_tokens` is None if even the shortest prompt failed, `failed_tokens` if the longest requested one still passed.
    """

    users: int
    passed_tokens: int | None
    failed_tokens: int | None
    failure: FailureClass | None
    error: str
    confirmed: int
    refuted: int
    fits_together_tokens: int | None
    basis: Basis | None = None


@dataclass(frozen=True, slots=True)
class ContextLimits:
    """The limits of one deployment. `predicted_tokens`: the longest prompt by theory; `predicted_by`: the rule that sets it.

    `ttft_order`: exponent k of TTFT ~ length^k at one user, None below three lengths; `growths` has all laws that could be fitted.
    """

    ended: str
    output_tokens: int
    block_tokens: int
    predicted_tokens: int | None
    predicted_by: PredictedBy | None
    limits: tuple[Limit, ...]
    trials: tuple[TrialResult, ...]
    ttft_order: float | None
    growths: tuple[Growth, ...] = ()

    @property
    def unhealthy(self) -> tuple[TrialResult, ...]:
        """Failures after which a one-token request was not served."""
        return tuple(trial for trial in self.trials if trial.healthy is False)

    @property
    def leaking(self) -> tuple[TrialResult, ...]:
        """Failures after which not all KV blocks were released."""
        return tuple(trial for trial in self.trials if trial.blocks_left)

    @property
    def memory_short(self) -> MemoryShort | None:
        """The memory limit at which the search stopped to protect the host."""
        return next((trial.memory for trial in self.trials if trial.memory), None)

    def agrees(self, limit: Limit) -> bool | None:
        """Whether the prediction is where the search found the limit; None if either is missing."""
        if self.predicted_tokens is None or limit.passed_tokens is None or limit.failed_tokens is None:
            return None
        return limit.passed_tokens <= self.predicted_tokens < limit.failed_tokens


def context_limits(events: Sequence[Event], requests: Requests, samples: Samples, facts: DeploymentFacts) -> ContextLimits | None:
    """The result of a deployment's search, or None if it had none. `events` are those of the deployment."""
    asked = first(events, ContextSearchStarted)
    if asked is None:
        return None
    tried = every(events, ContextTrial)
    by_stage: dict[str, list[RequestRecord]] = {}
    stages = requests.texts("stage")
    of_trials = np.isin(stages.codes, [code for code, name in enumerate(stages.values) if name in {trial.stage for trial in tried}])
    for request in requests.select(of_trials).records():  # a search sends few
        by_stage.setdefault(request.stage, []).append(request)
    death = first(events, ServerLost) or ServerLost()
    trials: list[TrialResult] = []
    most = 0
    for trial, following in zip_longest(tried, tried[1:]):
        until_ns = following.start_ns if following else None
        trials.append(trial_result(trial, by_stage.get(trial.stage, []), samples, most, death, facts.counts_cached_blocks, until_ns))
        most = max(most, trial.users * trial.input_tokens if trial.passed else 0)
    growths = tuple(_growths(trials, facts.kv_blocks))
    predicted, predicted_by = _predicted(asked, facts)
    finished = first(events, ContextSearchFinished)
    return ContextLimits(
        ended=finished.ended if finished else "broken_off",
        output_tokens=asked.output_tokens,
        block_tokens=asked.block_tokens,
        predicted_tokens=predicted,
        predicted_by=predicted_by,
        limits=tuple(_limit(users, trials, asked, facts) for users in dict.fromkeys(t.users for t in trials if t.phase == "search")),
        trials=tuple(trials),
        growths=growths,
        ttft_order=next((growth.slope for growth in growths if growth.users == 1 and growth.figure == "ttft_ns"), None),
    )


def _growths(trials: Sequence[TrialResult], kv_blocks: int | None) -> Iterator[Growth]:
    """The growth of each cost over the trials that passed. A trial that used all KV blocks is left out for KV blocks, because its
    prompts waited for each other. Memory counts only if it was newly allocated, because a server keeps what an earlier prompt made
    it allocate.
    """
    passed = [trial for trial in trials if trial.passed]
    for users in dict.fromkeys(trial.users for trial in passed):
        alike = [trial for trial in passed if trial.users == users]
        roomy = [trial for trial in alike if kv_blocks is None or (trial.kv_used_blocks_peak or 0) < kv_blocks]
        fresh = [trial for trial in alike if trial.takes_most]
        laws = (
            power_growth(users, "ttft_ns", _points(alike, "ttft_ns")),
            linear_growth(users, "kv_used_blocks_peak", _points(roomy, "kv_used_blocks_peak")),
            linear_growth(users, "server_rss_bytes_peak", _points(fresh, "server_rss_bytes_peak")),
            linear_growth(users, "gpu_memory_bytes_peak", _points(fresh, "gpu_memory_bytes_peak")),
        )
        yield from (law for law in laws if law)


def _points(trials: Sequence[TrialResult], figure: CostFigure) -> list[tuple[int, float]]:
    return [(trial.input_tokens, value) for trial in trials if (value := getattr(trial, figure))]


def _limit(users: int, trials: Sequence[TrialResult], asked: ContextSearchStarted, facts: DeploymentFacts) -> Limit:
    searched = [t for t in trials if t.users == users and t.phase == "search"]
    confirming = [t for t in trials if t.users == users and t.phase == "confirm"]
    passed = max((t.input_tokens for t in searched if t.passed), default=None)
    lowest = min((t for t in searched if not t.passed), key=lambda t: t.input_tokens, default=None)
    agreeing = sum(t.passed == (passed is not None and t.input_tokens <= passed) for t in confirming)
    together = None
    if facts.kv_blocks:
        together = facts.kv_blocks // users * asked.block_tokens - asked.output_tokens
    return Limit(
        users=users,
        passed_tokens=passed,
        failed_tokens=lowest.input_tokens if lowest else None,
        failure=lowest.failure if lowest else None,
        error=lowest.error if lowest else "",
        confirmed=agreeing,
        refuted=len(confirming) - agreeing,
        basis=lowest.basis if lowest else None,
        fits_together_tokens=max(0, together) if together is not None else None,
    )


def _predicted(asked: ContextSearchStarted, facts: DeploymentFacts) -> tuple[int | None, PredictedBy | None]:
    """(Longest prompt by theory, the rule that sets it). Prompt and output share the positions and the KV budget; a prompt also has the
    engine's own limit. The smallest decides.
    """
    if not facts.kv_blocks:
        return None, None
    bounds: dict[PredictedBy, int] = {"positions": asked.max_positions - asked.output_tokens}
    if (prompt := asked.longest_prompt_tokens) is not None:
        bounds["prompt"] = prompt
    bounds["kv_budget"] = facts.kv_blocks * asked.block_tokens - asked.output_tokens
    by = min(bounds, key=lambda rule: bounds[rule])
    return max(0, bounds[by]), by
