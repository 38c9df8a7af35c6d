"""The search's guard of host memory, without a server: what is not sent, what is called back, and which bound is named."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from types import SimpleNamespace
from typing import Any, cast

import pytest

from trtbench.experiments.context_limit import run
from trtbench.experiments.context_limit.run import _Trials
from trtbench.experiments.context_limit.spec import ContextLimit
from trtbench.rundir.records import Outcome
from trtbench.system.memory import MemoryBound, OomKills

GIB = 1 << 30
CONTAINER = MemoryBound("cgroup", 4 * GIB, GIB // 10)
ROOMY = MemoryBound("machine", 64 * GIB, 32 * GIB)


def trials(**asked: Any) -> _Trials:
    sampler = SimpleNamespace(snapshot=list)
    server = SimpleNamespace(death=None)
    return _Trials(*cast(Any, (server, None, ContextLimit(**asked), None, None, sampler, ())))


def test_a_trial_is_not_sent_when_memory_is_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "tightest_bound", lambda: CONTAINER)
    trial = asyncio.run(trials()._try(4, 512, "search"))
    assert (trial.passed, trial.stop, trial.memory) == (False, "low_memory", CONTAINER)
    assert asdict(trial)["memory"] == {"kind": "cgroup", "limit_bytes": 4 * GIB, "available_bytes": GIB // 10}


def test_what_is_in_flight_is_called_back(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = iter([ROOMY, ROOMY, CONTAINER])
    monkeypatch.setattr(run, "tightest_bound", lambda: next(bounds))

    async def watched() -> tuple[bool, _Trials]:
        search = trials()
        sending: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        await search._watch(sending)
        return sending.cancelled(), search

    cancelled, search = asyncio.run(watched())
    assert cancelled and search._why == "low_memory" and search._memory == CONTAINER


def test_the_asked_share_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "tightest_bound", lambda: ROOMY)
    assert not trials(min_available_memory_ratio=0.5)._is_short_of_memory()
    assert trials(min_available_memory_ratio=0.51)._is_short_of_memory()


def test_a_kill_during_a_trial_is_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's process is killed, the server lives on and fails the request."""
    counts = iter([OomKills(0, 0), OomKills(1, 1)])
    monkeypatch.setattr(run, "tightest_bound", lambda: ROOMY)
    monkeypatch.setattr(run, "oom_kills", lambda: next(counts))
    search = trials()

    async def failing(*_: object) -> list[Any]:
        return [SimpleNamespace(outcome="other", output_tokens=0, asked_output_tokens=8)]

    async def unhealthy(stage: str) -> bool:
        return False

    monkeypatch.setattr(search, "_send", failing)
    monkeypatch.setattr(search, "_is_healthy", unhealthy)
    trial = asyncio.run(search._try(1, 512, "search"))
    assert (trial.passed, trial.healthy, trial.oom_kill, trial.memory) == (False, False, "certain", None)


def test_a_server_that_lives_and_fails_every_request_ends_the_search(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a CUDA error the model may stay READY. Each further length would fail, and the search come to a limit that is none."""
    monkeypatch.setattr(run, "tightest_bound", lambda: ROOMY)
    monkeypatch.setattr(run, "_SETTLE_S", 0.0)
    search = trials()
    stages: list[str] = []

    async def failing(stage: str, *_: object) -> list[Any]:
        stages.append(stage)
        return [SimpleNamespace(outcome=Outcome.OUT_OF_MEMORY, output_tokens=0, asked_output_tokens=8)]

    monkeypatch.setattr(search, "_send", failing)
    trial = asyncio.run(search._try(1, 512, "search"))
    assert (trial.passed, trial.healthy, trial.stop) == (False, False, "unserving")
    assert len(stages) == 4 and all(stage.startswith("health-search-c1-n512") for stage in stages[1:])
