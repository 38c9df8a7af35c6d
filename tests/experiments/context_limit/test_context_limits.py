"""A search with planted truth: the limit, its class, what theory says, the order of growth, and what must not be found."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.records import MS, S, columns, request_of, samples_of
from trtbench.analysis.deployment_result import DeploymentResult
from trtbench.analysis.facts import deployment_facts
from trtbench.analysis.found import Found
from trtbench.analysis.verdict.finding import Finding
from trtbench.experiments.context_limit.analysis import limit_findings, limit_reasons
from trtbench.experiments.context_limit.context_limits import (
    CONTEXT_LIMITS,
    ContextLimits,
    Limit,
    PredictedBy,
    context_limits,
    linear_growth,
    power_growth,
)
from trtbench.experiments.context_limit.trials import FailureClass, MemoryShort
from trtbench.rundir.deployment_facts import DeploymentFile, EngineFile
from trtbench.rundir.records import Event, Outcome, RequestRecord
from trtbench.rundir.samples import Samples
from trtbench.scenario.scenario import Scenario

BLOCKS, BLOCK_TOKENS, OUTPUT, POSITIONS = 48, 32, 8, 8192
LIMIT = BLOCKS * BLOCK_TOKENS - OUTPUT  # 1528: the KV budget decides
NO_ROOM = "Request does not fit the KV cache: it needs 49 blocks of 48."
FACTS = deployment_facts("d", DeploymentFile(kv_blocks=BLOCKS), EngineFile())


class Search:
    """Writes trials of a made-up server, one a second: a prompt over LIMIT fails, TTFT is length squared / 1000 microseconds."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.requests: list[RequestRecord] = []
        self.kv: list[tuple[int, float]] = []
        self.event("context_search_started", output_tokens=OUTPUT, max_positions=POSITIONS, block_tokens=BLOCK_TOKENS, longest_tokens=8224)

    def event(self, kind: str, **data: Any) -> None:
        self.events.append(Event(len(self.events) * S, kind, "d", data))

    def trial(self, users: int, tokens: int, phase: str = "search", **changes: Any) -> None:
        passed, stage, start = tokens <= LIMIT, f"{phase}-{len(self.events)}", len(self.events) * S
        for user in range(users):
            token_ns = [start + tokens * tokens + i * MS for i in range(OUTPUT)] if passed else []
            outcome = Outcome.COMPLETED if passed else Outcome.TOO_LONG
            error = "" if passed else NO_ROOM
            made = request_of(
                start, token_ns, outcome, stage=stage, index=user, input_tokens=tokens, asked_output_tokens=OUTPUT, error=error
            )
            self.requests.append(made)
        self.kv.append((start + 1, float(-(-tokens // BLOCK_TOKENS) if passed else 0)))
        data = {"users": users, "input_tokens": tokens, "phase": phase, "stage": stage, "passed": passed, "stop": None}
        data |= {"start_ns": start, "end_ns": start + S // 2}
        data |= {"healthy": None, "blocks_left": None} if passed else {"healthy": True, "blocks_left": 0}
        self.event("context_trial", **data | changes)

    def found(self, ended: str | None = "done", samples: Samples | None = None) -> ContextLimits:
        if ended:
            self.event("context_search_finished", ended=ended)
        limits = context_limits(self.events, columns(self.requests), samples or samples_of({("kv_blocks_used", ""): self.kv}), FACTS)
        assert limits
        return limits


def whole_search() -> Search:
    search = Search()
    for tokens in (64, 128, 256, 512, 1024, 2048, 1536, 1280, 1408, 1472, 1504):
        search.trial(1, tokens)
    for tokens in (1504, 1504, 1504, 1536, 1536, 1536):
        search.trial(1, tokens, "confirm")
    return search


def test_the_planted_limit_is_found_with_class_and_theory() -> None:
    limits = whole_search().found()
    [limit] = limits.limits
    assert (limit.users, limit.passed_tokens, limit.failed_tokens, limit.failure) == (1, 1504, 1536, "kv_exhausted")
    assert (limit.confirmed, limit.refuted) == (6, 0)
    assert (limits.predicted_tokens, limits.predicted_by) == (LIMIT, "kv_budget")
    assert limits.agrees(limit) is True
    assert limit.fits_together_tokens == LIMIT
    assert limits.unhealthy == limits.leaking == ()


def test_ttft_of_the_passed_trials_grows_as_planted() -> None:
    limits = whole_search().found()
    assert limits.ttft_order == pytest.approx(2.0)
    assert {t.input_tokens: t.ttft_ns for t in limits.trials if t.passed}[1024] == 1024 * 1024
    assert {t.input_tokens: t.kv_used_blocks_peak for t in limits.trials}[1504] == 47


def test_several_users_share_the_kv_budget() -> None:
    search = Search()
    search.trial(4, 1504)
    search.trial(4, 1536)
    [limit] = search.found().limits
    assert (limit.users, limit.fits_together_tokens) == (4, 12 * BLOCK_TOKENS - OUTPUT)
    assert limit.passed_tokens == 1504, "more than fit together: they were queued"


def test_further_tries_that_disagree_are_counted() -> None:
    search = whole_search()
    search.trial(1, 1504, "confirm", passed=False)
    [limit] = search.found().limits
    assert (limit.confirmed, limit.refuted) == (6, 1)


def test_a_server_that_no_longer_serves_or_keeps_blocks_is_shown() -> None:
    search = Search()
    search.trial(1, 2048, healthy=False, blocks_left=3)
    limits = search.found()
    assert [t.input_tokens for t in limits.unhealthy] == [t.input_tokens for t in limits.leaking] == [2048]


@pytest.mark.parametrize(
    ("outcome", "error", "stop", "expected"),
    [
        (Outcome.TOO_LONG, "Prompt length (9000) exceeds maximum input length (8191).", None, "length_rule"),
        (Outcome.OUT_OF_MEMORY, "No free blocks left in the KV cache for this request.", None, "kv_exhausted"),
        (Outcome.OUT_OF_MEMORY, "CUDA error: out of memory", None, "device_out_of_memory"),
        (Outcome.OUT_OF_MEMORY, "Failed to allocate the KV cache: CUDA out of memory", None, "device_out_of_memory"),
        (Outcome.OUT_OF_MEMORY, "CUDA runtime error in ::cudaMallocHost(ptr, n): out of memory", None, "host_out_of_memory"),
        (Outcome.OUT_OF_MEMORY, "Engine step failed: std::bad_alloc", None, "host_out_of_memory"),
        (Outcome.OUT_OF_MEMORY, "oom", None, "out_of_memory"),
        (Outcome.CONNECTION, "rst_stream", None, "connection_broken"),
        (Outcome.TIMEOUT, "its time limit has passed", None, "timeout"),
        (Outcome.CONNECTION, "the server is gone", "server_lost", "server_died"),
        (Outcome.CANCELLED, "cancelled by the client", "low_memory", "low_memory"),
        (Outcome.OTHER, "?", None, "other"),
    ],
)
def test_class_of_a_failure(outcome: Outcome, error: str, stop: str | None, expected: str) -> None:
    search = Search()
    search.trial(1, 2048, stop=stop)
    search.requests[-1].outcome, search.requests[-1].error = outcome, error
    assert search.found(stop or "done").trials[-1].failure == expected


@pytest.mark.parametrize(
    ("stop", "oom_kill", "by_log", "expected"),
    [
        ("server_lost", "certain", False, "oom_killed"),
        ("server_lost", "likely", False, "oom_likely"),
        ("server_lost", "none", False, "server_died"),
        ("server_lost", "unknown", True, "host_out_of_memory"),
        (None, "certain", False, "oom_killed"),
        (None, "likely", False, "other"),
        ("low_memory", "certain", False, "low_memory"),
    ],
)
def test_class_of_a_death(stop: str | None, oom_kill: str, by_log: bool, expected: str) -> None:
    search = Search()
    search.trial(1, 2048, stop=stop, oom_kill=oom_kill)
    search.requests[-1].outcome, search.requests[-1].error = Outcome.OTHER, "Stub process is not healthy"
    if stop == "server_lost":
        search.event(
            "server_lost",
            exit_code=137,
            cause="Ended by SIGKILL. Why.",
            log_tail="",
            out_of_memory=by_log,
            memory="host" if by_log else None,
        )
    trial = search.found(stop or "done").trials[-1]
    assert trial.failure == expected
    assert trial.error == ("Ended by SIGKILL. Why." if stop == "server_lost" else "Stub process is not healthy")


def test_which_bound_of_memory_stopped_the_search() -> None:
    search = Search()
    search.trial(1, 64)
    search.trial(1, 128, passed=False, stop="low_memory", memory={"kind": "cgroup", "limit_bytes": 4096, "available_bytes": 100})
    limits = search.found("low_memory")
    assert limits.memory_short == MemoryShort("cgroup", 4096, 100)
    [reason] = limit_reasons("d", limits)
    assert (reason.code, reason.figures) == ("limit_memory_cgroup", {"limit_bytes": 4096, "available_bytes": 100})


def test_memory_grows_by_what_was_taken_anew() -> None:
    """RSS of 1000 + 2 a token, which the server keeps: what a shorter prompt shows later is the longer one's."""
    search, most, rss = Search(), 0, []
    for users, tokens in ((1, 100), (1, 200), (1, 400), (1, 300), (1, 350), (2, 150), (2, 300), (2, 500), (2, 700)):
        start_ns = len(search.events) * S
        search.trial(users, tokens)
        most = max(most, users * tokens)
        rss.append((start_ns + 1, 1000.0 + 2 * most))
    limits = search.found(samples=samples_of({("kv_blocks_used", ""): search.kv, ("server_rss_bytes", ""): rss}))
    assert [trial.takes_most for trial in limits.trials] == [True, True, True, False, False, False, True, True, True]
    lines = {growth.users: growth for growth in limits.growths if growth.figure == "server_rss_bytes_peak"}
    assert (lines[1].lengths, lines[1].slope, lines[1].base) == (3, pytest.approx(2), pytest.approx(1000))
    assert (lines[2].lengths, lines[2].slope) == (3, pytest.approx(4)), "two prompts of a length"
    blocks = [growth for growth in limits.growths if growth.figure == "kv_used_blocks_peak"]
    assert blocks[0].slope == pytest.approx(1 / BLOCK_TOKENS, rel=0.1) and blocks[0].longest_tokens == 400
    orders = {growth.users: growth.slope for growth in limits.growths if growth.figure == "ttft_ns"}
    assert orders == {1: pytest.approx(2), 2: pytest.approx(2)}


def test_batch_means_are_fitted_only_below_all_there_are() -> None:
    search = Search()
    for tokens in (128, 256, 512):
        search.trial(2, tokens)
    search.kv = [(at, min(BLOCKS, 2 * blocks)) for at, blocks in search.kv]
    search.trial(2, 1024)
    search.kv[-1] = (search.kv[-1][0], BLOCKS)
    [line] = [growth for growth in search.found().growths if growth.figure == "kv_used_blocks_peak"]
    assert (line.shortest_tokens, line.longest_tokens, line.slope) == (128, 512, pytest.approx(2 / BLOCK_TOKENS))


def test_an_answer_shorter_than_asked_is_a_failure_of_its_own_class() -> None:
    search = Search()
    search.trial(1, 1024, passed=False)
    search.requests[-1].token_counts[-1] = 0
    assert search.found().trials[-1].failure == "shortened"


def test_what_was_not_searched_has_no_limits() -> None:
    assert context_limits([Event(0, "stage_started", "d", {})], columns([]), samples_of({}), FACTS) is None


def test_a_search_without_samples_or_end_says_so() -> None:
    search = Search()
    search.trial(1, 64)
    limits = search.found(None, samples_of({}))
    assert limits.ended == "broken_off"
    assert limits.trials[0].kv_used_blocks_peak is None and limits.trials[0].gpu_memory_bytes_peak is None
    assert limits.limits[0].failed_tokens is None and limits.agrees(limits.limits[0]) is None


def findings(limits: ContextLimits) -> dict[str, Finding]:
    result = cast(DeploymentResult, SimpleNamespace(name="d", found=Found().put(CONTEXT_LIMITS, limits)))
    return {finding.code: finding for finding in limit_findings(result, cast(Scenario, None))}


def test_a_search_as_predicted_says_what_raises_its_limit_and_nothing_else() -> None:
    found = findings(whole_search().found())
    assert list(found) == ["limit_of_kv_budget"]
    assert found["limit_of_kv_budget"].figures == {"users": 1, "passed_tokens": 1504, "failed_tokens": 1536, "failure": "kv_exhausted"}


@pytest.mark.parametrize(
    ("failure", "rule", "theory", "code"),
    [
        ("length_rule", "positions", 1504, "limit_of_positions"),
        ("length_rule", "prompt", 1510, "limit_of_max_input"),
        ("length_rule", "kv_budget", 1535, "limit_of_kv_budget"),
        ("length_rule", "kv_budget", 1536, "limit_of_a_length_rule"),  # theory puts it elsewhere: another rule
        ("kv_exhausted", "positions", 9000, "limit_of_kv_budget"),
        ("device_out_of_memory", "kv_budget", 1504, "limit_of_device_memory"),
        ("oom_killed", None, None, "limit_of_host_memory"),
        ("timeout", "positions", 1504, "limit_of_time"),
        ("server_died", None, None, "limit_of_a_crash"),
        ("other", None, None, "limit_of_another_kind"),
    ],
)
def test_what_raises_a_limit_goes_by_the_class_of_its_failure(
    failure: FailureClass, rule: PredictedBy | None, theory: int | None, code: str
) -> None:
    limit = Limit(1, 1504, 1536, failure, "", 3, 0, None)
    limits = replace(whole_search().found(), limits=(limit,), predicted_by=rule, predicted_tokens=theory)
    assert [one.code for one in findings(limits).values() if one.code.startswith("limit_of_")] == [code]


def test_a_limit_that_was_cancelled_or_not_reached_raises_nothing() -> None:
    limits = (Limit(1, 1504, 1536, "cancelled", "", 0, 0, None), Limit(2, 1504, None, None, "", 0, 0, None))
    assert not any(code.startswith("limit_of_") for code in findings(replace(whole_search().found(), limits=limits)))


def test_what_is_wrong_is_a_finding() -> None:
    search = whole_search()
    search.trial(1, 10_000, "extreme", healthy=False, blocks_left=7)
    found = findings(search.found())
    assert found["limit_unhealthy"].figures == {"tokens": 10_000, "count": 1}
    assert found["limit_blocks_left"].figures == {"tokens": 10_000, "blocks": 7}


def test_a_limit_below_theory_is_a_finding_with_what_the_server_said() -> None:
    search = Search()
    search.trial(1, 1024)
    search.trial(1, 1056, passed=False)
    search.requests[-1].outcome, search.requests[-1].error = Outcome.OTHER, "too many tokens in one step"
    figures = findings(search.found())["limit_not_as_predicted"].figures
    assert (figures["passed_tokens"], figures["failed_tokens"], figures["predicted_tokens"]) == (1024, 1056, LIMIT)
    assert figures["said"] == "too many tokens in one step"


@pytest.mark.parametrize(("taken", "predicted"), [(1024, (1024, "prompt")), (8191, (LIMIT, "kv_budget")), (None, (LIMIT, "kv_budget"))])
def test_the_longest_prompt_that_an_engine_takes_is_a_bound_of_its_own(taken: int | None, predicted: tuple[int, str]) -> None:
    search = Search()
    search.events[0].data["longest_prompt_tokens"] = taken
    found = search.found()
    assert (found.predicted_tokens, found.predicted_by) == predicted


def test_gpu_memory_before_at_its_peak_and_after_each_try() -> None:
    """Two GPUs, one trial a second: the second try runs out of memory and keeps a gibibyte of it."""
    search = Search()
    search.trial(1, 64)
    search.trial(1, 2048, healthy=False, stop="unserving")
    search.requests[-1].outcome, search.requests[-1].error = Outcome.OUT_OF_MEMORY, "CUDA out of memory. Tried to allocate 2.00 GiB"
    first, second = (event.data["start_ns"] for event in search.events if event.kind == "context_trial")
    points = [(first - 1, 10.0), (first + 5, 14.0), (second - 5, 11.0), (second + 5, 20.0), (second + S, 12.0)]
    samples = samples_of({("gpu_memory_used_bytes", gpu): points for gpu in ("0", "1")})
    limits = search.found("unserving", samples)
    assert [(t.gpu_memory_bytes_before, t.gpu_memory_bytes_peak, t.gpu_memory_bytes_after) for t in limits.trials] == [
        (20.0, 28.0, 22.0),
        (22.0, 40.0, 24.0),
    ]
    assert (limits.ended, limits.trials[1].failure, limits.limits[0].failure) == ("unserving", *2 * ["device_out_of_memory"])


def test_without_a_gpu_its_memory_is_not_known() -> None:
    search = Search()
    search.trial(1, 64)
    [trial] = search.found().trials
    assert trial.gpu_memory_bytes_before is trial.gpu_memory_bytes_after is None


def timed_out(waiting: list[float], used: list[float], users: int = 2, **facts: Any) -> tuple[Any, ...]:
    """A trial of half a second whose prompts, 10 blocks each with their answer, never had a token, with gauges read every 100 ms."""
    search = Search()
    search.trial(users, 312, passed=False)
    start = search.events[-1].data["start_ns"]
    for request in search.requests:
        request.outcome, request.error, request.token_ns, request.token_counts = Outcome.TIMEOUT, "its time limit has passed", [], []
    series = {
        ("inflight_waiting_requests", ""): waiting,
        ("kv_blocks_used", ""): used,
        ("kv_blocks_max", ""): [48.0] * 5,
        ("kv_block_tokens", ""): [float(BLOCK_TOKENS)] * 5,
    }
    samples = samples_of({name: [(start + i * 100 * MS, v) for i, v in enumerate(values)] for name, values in series.items()})
    deployed = deployment_facts("d", DeploymentFile(kv_blocks=48, **facts), EngineFile())
    limits = context_limits(search.events, columns(search.requests), samples, deployed)
    assert limits
    trial = limits.trials[0]
    assert (limits.limits[0].failure, limits.limits[0].basis) == (trial.failure, trial.basis)
    return trial.failure, trial.basis, trial.kv_used_blocks_peak, trial.waiting_peak


@pytest.mark.parametrize(
    ("waiting", "used", "expected"),
    [
        ([2, 2, 2, 2, 2], [48] * 5, ("kv_exhausted", "gauges", 48, 2)),
        ([0, 0, 0, 2, 2], [0, 20, 30, 39, 39], ("kv_exhausted", "gauges", 39, 2)),  # 9 free, 10 needed
        ([2, 2, 2, 2, 2], [38] * 5, ("timeout", "client", 38, 2)),  # one would have fitted
        ([2, 2, 2, 2, 1], [48] * 5, ("timeout", "client", 48, 2)),  # one of them ran, and was slow
        ([2, 2, 2, 2, 2], [48, 48, 48, 48, 20], ("timeout", "client", 48, 2)),
    ],
)
def test_a_timeout_in_a_full_cache_is_its_exhaustion(waiting: list[float], used: list[float], expected: tuple[Any, ...]) -> None:
    assert timed_out(waiting, used) == expected


def test_where_blocks_may_be_cached_ones_the_gauges_prove_nothing() -> None:
    assert timed_out([2] * 5, [48] * 5, config={"kv_cache": {"prefix_caching": True}})[:2] == ("timeout", "client")


@pytest.mark.parametrize(
    ("stop", "says", "error", "expected"),
    [
        (None, "device", "Encountered an error in forwardAsync function", ("device_out_of_memory", "log", "its line")),
        (None, "kv_cache", "?", ("kv_exhausted", "log", "its line")),
        (None, "host", "Request does not fit the KV cache", ("kv_exhausted", "error", "Request does not fit the KV cache")),
        ("server_lost", "host", "?", ("host_out_of_memory", "log", "its line")),
        ("server_lost", None, "?", ("server_died", "process", "Ended by SIGSEGV.")),
    ],
)
def test_what_the_log_said_in_the_trial(stop: str | None, says: str | None, error: str, expected: tuple[str, ...]) -> None:
    search = Search()
    search.trial(1, 2048, stop=stop, log_says=says, log_line="its line" if says else "")
    search.requests[-1].outcome, search.requests[-1].error = Outcome.OTHER, error
    if stop:
        search.event("server_lost", exit_code=139, cause="Ended by SIGSEGV.", log_tail="", out_of_memory=False)
    trial = search.found(stop or "done").trials[-1]
    assert (trial.failure, trial.basis, trial.error) == expected


def test_a_death_in_an_older_run_is_not_attributed_to_a_side() -> None:
    search = Search()
    search.trial(1, 2048, stop="server_lost")
    search.event("server_lost", exit_code=134, cause="?", log_tail="", out_of_memory=True)
    assert search.found("server_lost").trials[-1].failure == "out_of_memory"


LENGTHS = st.lists(st.integers(1, 100_000), min_size=3, max_size=20, unique=True)


@given(LENGTHS, st.floats(1e-3, 1e6), st.floats(0.2, 3))
def test_a_power_law(lengths: list[int], base: float, order: float) -> None:
    found = power_growth(2, "ttft_ns", [(n, base * n**order) for n in lengths])
    assert found and found.slope == pytest.approx(order, abs=1e-5) and found.lengths == len(lengths)
    assert found.at(777) == pytest.approx(base * 777**order, rel=0.01)
    assert found.explained_ratio == pytest.approx(1, abs=1e-4)


@given(LENGTHS, st.floats(0, 1e9), st.floats(1, 1e6))
def test_a_line(lengths: list[int], base: float, slope: float) -> None:
    found = linear_growth(1, "server_rss_bytes_peak", [(n, base + slope * n) for n in lengths])
    assert found and found.law == "line"
    assert found.at(lengths[0]) == pytest.approx(base + slope * lengths[0], rel=1e-6)


def test_below_three_lengths_there_is_no_law() -> None:
    assert power_growth(1, "ttft_ns", [(1, 2.0), (2, 4.0), (2, 4.0)]) is None
    assert linear_growth(1, "ttft_ns", []) is None
    assert power_growth(1, "ttft_ns", [(1, 3.0), (2, 6.0), (4, 0.0)]) is None, "no logarithm of nothing"


def test_several_tries_of_a_length_count_once() -> None:
    found = linear_growth(1, "ttft_ns", [(1, 1.0), (2, 2.0), (3, 2.0), (3, 4.0), (3, 3.0)])
    assert found and found.slope == pytest.approx(1) and found.lengths == 3


def test_what_does_not_vary_explains_nothing() -> None:
    found = linear_growth(1, "server_rss_bytes_peak", [(1, 5.0), (2, 5.0), (3, 5.0)])
    assert found and found.explained_ratio is None and found.slope == pytest.approx(0)
