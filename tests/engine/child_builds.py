"""Builds by the fake provider in processes of their own, started with `spawn`: a fork beside gRPC's threads can end in its abort."""

from __future__ import annotations

import multiprocessing
import time
from pathlib import Path
from typing import Any

from tests.support.engines.fake_provider import FakeProvider
from trtbench.engine import build
from trtbench.engine.build import build_engine
from trtbench.engine.spec import BuildJob, BuildLog, BuiltFacts, EngineSpec

SPAWN = multiprocessing.get_context("spawn")


class FakeHanging(FakeProvider):
    """Never ends a build; `reached` is set when one has begun."""

    def __init__(self, reached: Any) -> None:
        super().__init__()
        self._reached = reached

    def build(self, job: BuildJob, log: BuildLog) -> BuiltFacts:
        (job.output / "half").touch()
        self._reached.set()
        time.sleep(60)
        raise AssertionError


class FakeTogether(FakeProvider):
    """Builds when every party of `barrier` builds, however long the others take to start: each imports the package anew."""

    def __init__(self, barrier: Any) -> None:
        super().__init__()
        self._barrier = barrier

    def build(self, job: BuildJob, log: BuildLog) -> BuiltFacts:
        self._barrier.wait()  # all are past the cache
        built = super().build(job, log)
        self._barrier.wait()
        return built


def make(provider: type[FakeHanging] | type[FakeTogether], shared: Any, checkpoint: Path, output: Path) -> None:
    build.PROVIDERS = {"fake": provider(shared)}
    build_engine(EngineSpec(model=str(checkpoint), dtype="fp16"), output, BuildLog(lambda step: None))
