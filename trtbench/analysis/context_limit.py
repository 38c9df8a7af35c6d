"""The context limit that a search found, from its trials, their requests, and the samples taken meanwhile."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from trtbench.analysis.facts import DeploymentFacts
from trtbench.analysis.growth import CostFigure, Growth, linear_growth, power_growth
from trtbench.analysis.latency import ttft_ns
from trtbench.records import Event, Outcome, RequestRecord
from trtbench.rundir import Samples

FailureClass = Literal[
    "length_rule",
    "kv_exhausted",
    "shortened",
    "out_of_memory",
    "oom_killed",
    "oom_likely",
    "timeout",
    "server_died",
    "low_memory",
    "rejected",
    "cancelled",
    "other",
]
_CLASSES: dict[Outcome, FailureClass] = {
    Outcome.COMPLETED: "shortened",
    Outcome.TOO_LONG: "length_rule",
    Outcome.OUT_OF_MEMORY: "out_of_memory",
    Outcome.TIMEOUT: "timeout",
    Outcome.CONNECTION: "server_died",
    Outcome.REJECTED: "rejected",
    Outcome.CANCELLED: "cancelled",
}


@dataclass(frozen=True, slots=True)
class MemoryShort:
    """The bound on host memory under which the search stopped: of the machine, or of the control group (a container's)."""

    kind: Literal["machine", "cgroup"]
    limit_bytes: int
    available_bytes: int


@dataclass(frozen=True, slots=True)
class TrialResult:
    """`ttft_ns` is the slowest of its users'; peaks are the largest samples while it ran, None where none fell into it.

    `takes_most`: no trial that passed before it had as many prompt tokens at once, so that its memory is its own.
    """

    users: int
    input_tokens: int
    phase: str
    passed: bool
    failure: FailureClass | None
    error: str
    ttft_ns: int | None
    kv_used_blocks_peak: float | None
    server_rss_bytes_peak: float | None
    gpu_memory_bytes_peak: float | None
    healthy: bool | None
    blocks_left: int | None
    takes_most: bool = False
    memory: MemoryShort | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """What `users` prompts at once may be long. `confirmed` and `refuted`: how many further tries said the same, and something else.

    `passed_tokens` is None where even the shortest failed, `failed_tokens` where the longest asked for still passed.
    """

    users: int
    passed_tokens: int | None
    failed_tokens: int | None
    failure: FailureClass | None
    error: str
    confirmed: int
    refuted: int
    fits_together_tokens: int | None


@dataclass(frozen=True, slots=True)
class ContextLimits:
    """`predicted_tokens`: the longest prompt by theory, `predicted_by` which rule sets it.

    `ttft_order`: exponent k of TTFT ~ length^k at one user, None below three lengths; `growths` has all laws that could be fitted.
    """

    ended: str
    output_tokens: int
    block_tokens: int
    predicted_tokens: int | None
    predicted_by: Literal["positions", "kv_budget"] | None
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
        """Failures after which KV blocks were not back."""
        return tuple(trial for trial in self.trials if trial.blocks_left)

    @property
    def memory_short(self) -> MemoryShort | None:
        """What ended the search to spare the host's memory."""
        return next((trial.memory for trial in self.trials if trial.memory), None)

    def agrees(self, limit: Limit) -> bool | None:
        """Whether the prediction lies where the search found the limit; None where either is missing."""
        if self.predicted_tokens is None or limit.passed_tokens is None or limit.failed_tokens is None:
            return None
        return limit.passed_tokens <= self.predicted_tokens < limit.failed_tokens


def context_limits(
    events: Sequence[Event], requests: Sequence[RequestRecord], samples: Samples, facts: DeploymentFacts
) -> ContextLimits | None:
    """None for a deployment that no search was run on. `events` are its own."""
    asked = next((event.data for event in events if event.kind == "context_search_started"), None)
    if asked is None:
        return None
    by_stage: dict[str, list[RequestRecord]] = {}
    for request in requests:
        by_stage.setdefault(request.stage, []).append(request)
    death = next((event.data for event in events if event.kind == "server_lost"), {})
    trials: list[TrialResult] = []
    most = 0
    for data in (event.data for event in events if event.kind == "context_trial"):
        trials.append(_trial(data, by_stage.get(data["stage"], []), samples, most, death))
        most = max(most, data["users"] * data["input_tokens"] if data["passed"] else 0)
    growths = tuple(_growths(trials, facts.kv_blocks))
    predicted, predicted_by = _predicted(asked, facts)
    ended = next((event.data["ended"] for event in events if event.kind == "context_search_finished"), "broken_off")
    return ContextLimits(
        ended=str(ended),
        output_tokens=asked["output_tokens"],
        block_tokens=asked["block_tokens"],
        predicted_tokens=predicted,
        predicted_by=predicted_by,
        limits=tuple(_limit(users, trials, asked, facts) for users in dict.fromkeys(t.users for t in trials if t.phase == "search")),
        trials=tuple(trials),
        growths=growths,
        ttft_order=next((growth.slope for growth in growths if growth.users == 1 and growth.figure == "ttft_ns"), None),
    )


def _growths(trials: Sequence[TrialResult], kv_blocks: int | None) -> Iterator[Growth]:
    """Of the passed trials. KV blocks only below all there are, where prompts begin to wait for each other; memory only where it was
    taken anew, for a server keeps what a longer prompt made it take.
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


def _trial(
    data: dict[str, Any], requests: Sequence[RequestRecord], samples: Samples, most_before: int, death: dict[str, Any]
) -> TrialResult:
    """`most_before`: prompt tokens at once of the largest trial that passed before it. `death`: of the server, if it was lost."""
    start, end = data["start_ns"], data["end_ns"]
    failed = [r for r in requests if r.outcome is not Outcome.COMPLETED or r.output_tokens != r.asked_output_tokens]
    ttfts = [ttft for r in requests if (ttft := ttft_ns(r)) is not None]
    return TrialResult(
        users=data["users"],
        input_tokens=data["input_tokens"],
        phase=data["phase"],
        passed=data["passed"],
        failure=None if data["passed"] else _failure(data, failed, death),
        error=str(death.get("cause", "")) if data["stop"] == "server_lost" else next((r.error for r in failed if r.error), ""),
        ttft_ns=max(ttfts) if ttfts and len(ttfts) == len(requests) else None,
        kv_used_blocks_peak=_peak(samples, "kv_blocks_used", start, end),
        server_rss_bytes_peak=_peak(samples, "server_rss_bytes", start, end),
        gpu_memory_bytes_peak=_gpu_peak(samples, start, end),
        healthy=data["healthy"],
        blocks_left=data["blocks_left"],
        takes_most=data["users"] * data["input_tokens"] > most_before,
        memory=MemoryShort(**data["memory"]) if data.get("memory") else None,
    )


def _failure(data: dict[str, Any], failed: Sequence[RequestRecord], death: dict[str, Any]) -> FailureClass:
    """The class of the first request that failed; why the search was stopped says more than what became of its requests.

    The kernel may kill the server, or one of its children under a server that lives on. That it may have been ours (`likely`) counts
    only where the server is dead: else the request's own error says more.
    """
    if data["stop"] == "low_memory":
        return "low_memory"
    if data.get("oom_kill") == "certain":
        return "oom_killed"
    if data["stop"] == "server_lost":
        return "out_of_memory" if death.get("out_of_memory") else "oom_likely" if data.get("oom_kill") == "likely" else "server_died"
    if not failed:
        return "other"
    first = failed[0]
    text = first.error.lower()
    if "kv cache" in text or "no free blocks" in text:
        return "kv_exhausted"
    return _CLASSES.get(first.outcome, "other")


def _limit(users: int, trials: Sequence[TrialResult], asked: dict[str, Any], facts: DeploymentFacts) -> Limit:
    searched = [t for t in trials if t.users == users and t.phase == "search"]
    confirming = [t for t in trials if t.users == users and t.phase == "confirm"]
    passed = max((t.input_tokens for t in searched if t.passed), default=None)
    lowest = min((t for t in searched if not t.passed), key=lambda t: t.input_tokens, default=None)
    agreeing = sum(t.passed == (passed is not None and t.input_tokens <= passed) for t in confirming)
    together = None
    if facts.kv_blocks:
        together = facts.kv_blocks // users * asked["block_tokens"] - asked["output_tokens"]
    return Limit(
        users=users,
        passed_tokens=passed,
        failed_tokens=lowest.input_tokens if lowest else None,
        failure=lowest.failure if lowest else None,
        error=lowest.error if lowest else "",
        confirmed=agreeing,
        refuted=len(confirming) - agreeing,
        fits_together_tokens=max(0, together) if together is not None else None,
    )


def _predicted(asked: dict[str, Any], facts: DeploymentFacts) -> tuple[int | None, Literal["positions", "kv_budget"] | None]:
    """Prompt and output share the positions and the KV budget; the smaller of the two decides."""
    positions = asked["max_positions"] - asked["output_tokens"]
    if not facts.kv_blocks:
        return None, None
    budget = facts.kv_blocks * asked["block_tokens"] - asked["output_tokens"]
    return (positions, "positions") if positions <= budget else (max(0, budget), "kv_budget")


def _peak(samples: Samples, name: str, start_ns: int, end_ns: int, label: str = "") -> float | None:
    times, values = samples.series(name, label)
    inside = values[(times >= start_ns) & (times <= end_ns)]
    return float(inside.max()) if len(inside) else None


def _gpu_peak(samples: Samples, start_ns: int, end_ns: int) -> float | None:
    """All GPUs added."""
    peaks = [_peak(samples, "gpu_memory_used_bytes", start_ns, end_ns, gpu) for gpu in samples.labels("gpu_memory_used_bytes")]
    known = [peak for peak in peaks if peak is not None]
    return sum(known) if known else None
