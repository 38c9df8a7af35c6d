from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.protocol import ConnectError
from trtbench.load.tally import LoadProgress
from trtbench.load.worker import WorkerConfig
from trtbench.load.worker_handle import WorkerError, WorkerHandle
from trtbench.load.worker_pool import WorkerPool
from trtbench.plan.draw import draw_plan
from trtbench.plan.plan import Plan
from trtbench.plan.plan_file import save_plan
from trtbench.plan.sources.prompt_source import UniformPrompts
from trtbench.rundir.directory import DeploymentDirectory
from trtbench.rundir.records import Outcome
from trtbench.scenario.reading import parse_scenario

pytestmark = pytest.mark.timeout(60)


def config_and_plan(directory: DeploymentDirectory, url: str) -> tuple[WorkerConfig, Plan]:
    scenario = parse_scenario({"name": "x", "load": [{"concurrency": 6, "requests": 30}], "workload": {"output_tokens": 4}}, "test")
    plan = draw_plan(scenario, UniformPrompts(1000))
    save_plan(plan, directory.plan_jsonl)
    config = WorkerConfig(
        number=0, plan=directory.plan_jsonl, requests=directory.requests_jsonl(), samples=directory.samples_jsonl,
        target=inspect_target(url, "tensorrt_llm"), workload=scenario.workload, settings=scenario.client, end_id=-1,
        timeout_s=30, drain_s=5,
    )  # fmt: skip
    return config, plan


def test_a_worker_that_does_not_reach_the_server_is_done_without(
    tmp_path: Path, start_fake_server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = DeploymentDirectory(tmp_path)
    config, plan = config_and_plan(directory, start_fake_server(5, 1).url)
    real = WorkerHandle.start.__func__  # type: ignore[attr-defined]

    async def start(cls: type[WorkerHandle], asked: WorkerConfig, *more: Any) -> WorkerHandle:
        handle: WorkerHandle = await real(
            cls, replace(asked, target=replace(asked.target, url="127.0.0.1:1")) if asked.number == 1 else asked, *more
        )
        return handle

    monkeypatch.setattr(WorkerHandle, "start", classmethod(start))

    async def main() -> tuple[int, int]:
        pool = WorkerPool(config, LoadProgress())
        try:
            await pool.grow(3)
            await pool.prepare_phase(0, plan.stages[0].measured)
            return pool.workers, (await pool.run_phase()).completed
        finally:
            await pool.close()

    assert asyncio.run(main()) == (2, 30)
    records = directory.requests()
    assert sorted(record.index for record in records) == list(range(30)) and {record.worker for record in records} == {0, 2}
    assert {record.outcome for record in records} == {Outcome.COMPLETED}


def test_nobody_reaches_the_server(tmp_path: Path, start_fake_server: Any) -> None:
    server = start_fake_server(5, 1)
    config, _ = config_and_plan(DeploymentDirectory(tmp_path), server.url)
    server.kill()

    async def main() -> None:
        pool = WorkerPool(config, LoadProgress())
        try:
            await pool.grow(2)
        finally:
            assert await pool.close() == []

    with pytest.raises(ConnectError, match=server.url):
        asyncio.run(main())


@pytest.mark.filterwarnings("ignore:Pydantic serializer")
def test_a_switch_that_fails_ends_the_load_and_says_why(tmp_path: Path, start_fake_server: Any) -> None:
    directory = DeploymentDirectory(tmp_path)
    config, plan = config_and_plan(directory, start_fake_server(60_000, 1).url)

    async def main() -> None:
        pool = WorkerPool(config, LoadProgress())
        try:
            await pool.grow(2)
            await pool.prepare_phase(0, plan.stages[0].measured)
            running = asyncio.create_task(pool.run_phase())
            await asyncio.sleep(0.3)
            await pool.switch(5)  # type: ignore[arg-type]
            await running
        finally:
            await pool.close()

    with pytest.raises(WorkerError, match=r"switch_model\.model"):
        asyncio.run(main())
    records = directory.requests()
    assert sorted(record.index for record in records) == list(range(30))
    assert {record.outcome for record in records} == {Outcome.CANCELLED, Outcome.NEVER_SENT}
