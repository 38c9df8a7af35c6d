"""Whole loads over real gRPC against a fake server process, under every fault."""

from __future__ import annotations

import asyncio
import statistics
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.support.events import plain
from trtbench.client.kserve.inspection import inspect_target
from trtbench.load.load_phases import BeforeStage, LoadHooks, run_load
from trtbench.load.tally import LoadProgress
from trtbench.load.worker import WorkerConfig
from trtbench.load.worker_handle import WorkerError
from trtbench.load.worker_pool import WorkerPool
from trtbench.plan.draw import draw_plan
from trtbench.plan.plan import Plan
from trtbench.plan.plan_file import save_plan
from trtbench.plan.sources.prompt_source import UniformPrompts
from trtbench.rundir.directory import DeploymentDirectory
from trtbench.rundir.event_kinds import ClientFacts, StageFinished
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.rundir.samples import Samples
from trtbench.scenario.reading import parse_scenario
from trtbench.system.clock import now_ns
from trtbench.telemetry.borders import Border

pytestmark = pytest.mark.timeout(60)


@dataclass
class Run:
    """What a load left behind."""

    ended: str
    plan: Plan
    records: list[RequestRecord]
    events: list[tuple[str, dict[str, Any]]]
    snapshots: list[tuple[int, int]] = field(default_factory=list)  # when, and what had completed since the one before
    clients: list[ClientFacts | None] = field(default_factory=list)
    samples: Samples | None = None

    def windows(self) -> list[StageFinished]:
        return [StageFinished(**data) for kind, data in self.events if kind == "stage_finished"]

    def of(self, stage: str, warmup: bool = False) -> list[RequestRecord]:
        return sorted((r for r in self.records if r.stage == stage and r.warmup == warmup), key=lambda record: record.index)

    def outcomes(self, stage: str) -> dict[Outcome, int]:
        return dict(Counter(record.outcome for record in self.of(stage)))


def run(
    tmp_path: Path,
    url: str,
    stages: list[dict[str, Any]],
    model: str = "tensorrt_llm",
    meanwhile: Any = None,
    workers: int = 1,
    before_stage: BeforeStage | None = None,
    **stop: Any,
) -> Run:
    """Run the stages; `meanwhile(pool, progress)` acts on the running load."""
    tree = {"name": "x", "load": stages, "workload": {"input_tokens": 16, "output_tokens": 8, "distinct_prompts": 20}, "stop": stop}
    scenario = parse_scenario(tree, "test")
    plan = draw_plan(scenario, UniformPrompts(1000))
    found = inspect_target(url, "tensorrt_llm")
    result = Run("", plan, [], [])
    directory = DeploymentDirectory(tmp_path)
    save_plan(plan, directory.plan_jsonl)
    config = WorkerConfig(
        number=0, plan=directory.plan_jsonl, requests=directory.requests_jsonl(), samples=directory.samples_jsonl,
        target=replace(found, url=url, model=model), workload=scenario.workload, settings=scenario.client, end_id=-1,
        timeout_s=scenario.stop.timeout_s, drain_s=scenario.stop.drain_s, watch=scenario.stop.stability is not None,
        consecutive_errors=scenario.stop.consecutive_errors or 0,
    )  # fmt: skip

    async def main() -> None:
        progress = LoadProgress()
        pool = WorkerPool(config, progress)
        other = asyncio.create_task(meanwhile(pool, progress)) if meanwhile else None
        hooks = LoadHooks(lambda data: result.events.append(plain(data)), snapshot, before_stage)
        try:
            result.ended = await run_load(plan, scenario.stop, pool, hooks, workers)
        finally:
            result.clients = await pool.close()
            if other:
                await other

    async def snapshot(completed: int) -> Border:
        result.snapshots.append((now_ns(), completed))
        return Border([], counted_ns=now_ns())

    asyncio.run(main())
    result.records = directory.requests()
    result.samples = directory.samples()
    for path in tmp_path.glob("requests-*.jsonl"):
        path.unlink()
    assert not list(tmp_path.glob("client-*.log"))
    check_conservation(result)
    return result


def check_conservation(result: Run) -> None:
    """Every planned request has one record and one outcome, warm-ups and stages that were not run among them.

    In a phase by time each worker goes on by itself through every so-manieth index: the last of them may be further than another.
    """
    for part in result.plan.stages:
        for phase in (part.warmup, part.measured):
            records = result.of(part.stage.label, phase.warmup)
            indices = [record.index for record in records]
            if phase.planned is not None:
                assert indices == list(range(phase.planned))
                continue
            workers = min(max(1, len(result.clients)), part.stage.concurrency or 1)
            for worker in range(workers):
                taken = [index for index in indices if index % workers == worker]
                assert taken == list(range(worker, worker + workers * len(taken), workers))
    for window in result.windows():
        assert window.planned == len(result.of(window.name)) == sum(result.outcomes(window.name).values())
    for record in result.records:
        assert record.sent_ns is not None or record.outcome in (Outcome.NEVER_SENT, Outcome.CONNECTION)  # no connection to send it on
        assert record.sent_ns is None or record.outcome is not Outcome.NEVER_SENT
        assert record.sent_ns is None or record.done_ns is not None


def when(fact: Callable[[LoadProgress], bool], *steps: Callable[[WorkerPool], None]) -> Callable[..., Coroutine[Any, Any, None]]:
    """Meanwhile: wait until `fact` holds, then do the steps."""

    async def act(pool: WorkerPool, progress: LoadProgress) -> None:
        while not fact(progress):
            await asyncio.sleep(0.005)
        for step in steps:
            step(pool)
            await asyncio.sleep(0.05)

    return act


CLOSED = {"name": "closed", "concurrency": 4, "requests": 24, "warmup_requests": 5}
OPEN = {"name": "open", "mode": "poisson", "rate": 80, "requests": 30, "warmup_requests": 3}
TIMED = {"name": "timed", "concurrency": 3, "duration_s": 0.4}


def test_a_load_of_three_kinds(tmp_path: Path, start_fake_triton: Any) -> None:
    url, _ = start_fake_triton(10, 2)
    result = run(tmp_path, url, [CLOSED, OPEN, TIMED])
    assert result.ended == "done"
    assert {record.outcome for record in result.records} == {Outcome.COMPLETED}
    assert all(record.output_ids == list(range(100, 108)) for record in result.records)
    assert [(kind, data["name"]) for kind, data in result.events] == [
        (kind, name) for name in ("closed", "open", "timed") for kind in ("stage_started", "stage_finished")
    ]
    assert result.samples and {"client_loop_lag_ns", "client_gc_pause_ns", "client_worker_cpu_cores"} <= set(result.samples.names())


def test_a_stage_waits_with_its_warm_up_for_what_is_done_before_it(tmp_path: Path, start_fake_triton: Any) -> None:
    url, _ = start_fake_triton(5, 1)
    done: list[tuple[str, int]] = []

    async def before_stage(stage: str, stopped: Callable[[], bool]) -> None:
        await asyncio.sleep(0.05)
        done.append((stage, now_ns()))

    result = run(tmp_path, url, [CLOSED, TIMED], before_stage=before_stage)
    assert [stage for stage, _ in done] == ["closed", "timed"]
    for stage, instant_ns in done:
        first = min(record.sent_ns for record in result.records if record.stage == stage and record.sent_ns)
        assert instant_ns < first
    assert max(record.done_ns or 0 for record in result.of("closed")) < done[1][1]


def test_an_interrupt_ends_the_wait_before_a_stage(tmp_path: Path, start_fake_triton: Any) -> None:
    url, _ = start_fake_triton(5, 1)
    waits: list[str] = []

    async def before_stage(stage: str, stopped: Callable[[], bool]) -> None:
        waits.append(stage)
        while not stopped():
            await asyncio.sleep(0.01)

    interrupt = when(lambda progress: bool(waits), lambda pool: pool.interrupt())
    result = run(tmp_path, url, [CLOSED, TIMED], meanwhile=interrupt, before_stage=before_stage)
    assert (result.ended, waits) == ("interrupted", ["closed"])
    assert {record.outcome for record in result.records} == {Outcome.NEVER_SENT}


def test_windows_hold_the_measured_phase_and_counters_are_read_at_their_borders(tmp_path: Path, start_fake_triton: Any) -> None:
    url, _ = start_fake_triton(5, 1)
    result = run(tmp_path, url, [CLOSED, OPEN])
    assert [completed for _, completed in result.snapshots] == [0, 5, 24, 0, 3, 30]
    for number, window in enumerate(result.windows()):
        _, before_ns, after_ns = (at_ns for at_ns, _ in result.snapshots[3 * number : 3 * number + 3])
        assert before_ns <= (window.counted_from_ns or 0) <= window.start_ns and after_ns <= (window.counted_to_ns or 0)
        measured, warmup = result.of(window.name), result.of(window.name, warmup=True)
        dones = [record.done_ns or 0 for record in measured]
        assert max(record.done_ns or 0 for record in warmup) <= before_ns <= window.start_ns <= min(record.due_ns for record in measured)
        assert max(dones) <= window.end_ns <= after_ns


def test_measured_latencies_are_those_the_server_was_built_with(tmp_path: Path, start_fake_triton: Any) -> None:
    """The server sends the first token 40 ms after a request's arrival and one each 10 ms after it; a token's id says when, in us.

    A busy machine delays the request and the server, which shows in the server's own instants. What is left is the measurement.
    """
    url, _ = start_fake_triton(40, 10)
    records = run(tmp_path, url, [{"name": "one", "concurrency": 2, "requests": 16}], model="clocked").of("one")
    late_ns: list[int] = []
    for record in records:
        assert record.server and record.due_ns < record.server.arrival_ns and len(record.token_ns) == 8
        for number, (token_ns, sent_us) in enumerate(zip(record.token_ns, record.output_ids, strict=True)):
            assert sent_us >= (40 + 10 * number) * 1000
            late_ns.append(token_ns - record.server.arrival_ns - sent_us * 1000)
    assert min(late_ns) > 0  # no stamp can be before the server sent
    assert statistics.median(late_ns) < 3_000_000


def test_errors_are_counted_by_class_and_the_rest_goes_on(tmp_path: Path, start_fake_triton: Any) -> None:
    url, _ = start_fake_triton(2, 1)
    result = run(tmp_path, url, [{"name": "one", "concurrency": 4, "requests": 24}], model="flaky")
    assert result.ended == "done" and result.outcomes("one") == {Outcome.COMPLETED: 16, Outcome.OUT_OF_MEMORY: 8}
    assert all(record.output_tokens == 2 for record in result.records if record.outcome is Outcome.OUT_OF_MEMORY)


def test_stuck_streams_time_out(tmp_path: Path, start_fake_triton: Any) -> None:
    url, _ = start_fake_triton(2, 1)
    result = run(tmp_path, url, [{"name": "one", "mode": "constant", "rate": 50, "requests": 10}], model="stuck", timeout_s=0.4)
    assert result.outcomes("one") == {Outcome.TIMEOUT: 10}


@pytest.mark.parametrize("noticed", [True, False])
@pytest.mark.parametrize("stage", [CLOSED | {"requests": 100}, OPEN | {"requests": 240}])
def test_a_server_killed_mid_run(tmp_path: Path, start_fake_triton: Any, stage: dict[str, Any], noticed: bool) -> None:
    url, process = start_fake_triton(20, 5)

    def kill(pool: WorkerPool) -> None:
        process.kill()
        process.wait()
        if noticed:
            pool.server_lost()

    result = run(tmp_path, url, [stage, TIMED], meanwhile=when(lambda p: not p.warmup and p.counts.completed >= 6, kill), error_ratio=0.5)
    outcomes = result.outcomes(stage["name"])
    assert outcomes[Outcome.COMPLETED] >= 6 and outcomes[Outcome.CONNECTION] >= 1
    assert set(outcomes) <= {Outcome.COMPLETED, Outcome.CONNECTION, Outcome.NEVER_SENT}
    if noticed:
        assert result.ended == result.windows()[0].ended == "server_lost" and Outcome.NEVER_SENT in outcomes
    else:
        assert Outcome.NEVER_SENT not in outcomes


def test_an_interrupt_drains_and_the_rest_is_never_sent(tmp_path: Path, start_fake_triton: Any) -> None:
    url, _ = start_fake_triton(20, 5)
    result = run(
        tmp_path,
        url,
        [CLOSED | {"requests": 400}, OPEN, TIMED],
        meanwhile=when(lambda p: not p.warmup and p.counts.completed >= 4, WorkerPool.interrupt),
    )
    assert result.ended == "interrupted" and set(result.outcomes("closed")) == {Outcome.COMPLETED, Outcome.NEVER_SENT}
    assert result.outcomes("open") == {Outcome.NEVER_SENT: 30} and len(result.of("open", warmup=True)) == 3
    assert result.outcomes("timed") == {}
    assert [window.name for window in result.windows()] == ["closed"] and result.windows()[0].ended == "interrupted"
    assert result.events[-1] == ("load_stopped", {"why": "interrupted", "stage": "closed", "stages_not_run": ["open", "timed"]})


def test_a_second_interrupt_cancels(tmp_path: Path, start_fake_triton: Any) -> None:
    url, _ = start_fake_triton(1, 1)
    twice = when(lambda p: p.counts.in_flight == 4, WorkerPool.interrupt, WorkerPool.interrupt)
    result = run(tmp_path, url, [CLOSED | {"warmup_requests": 0}], model="stuck", meanwhile=twice)
    assert result.ended == "interrupted" and result.outcomes("closed") == {Outcome.CANCELLED: 4, Outcome.NEVER_SENT: 20}


def test_an_interrupt_in_the_warmup_opens_no_window(tmp_path: Path, start_fake_triton: Any) -> None:
    url, _ = start_fake_triton(20, 5)
    long = CLOSED | {"warmup_requests": 100}  # workers report four times a second what they have sent
    result = run(tmp_path, url, [long, OPEN], meanwhile=when(lambda p: p.warmup and p.counts.sent > 0, WorkerPool.interrupt))
    assert result.windows() == [] and [completed for _, completed in result.snapshots] == [0]
    assert result.outcomes("closed") == {Outcome.NEVER_SENT: 24}
    assert result.events == [("load_stopped", {"why": "interrupted", "stage": "closed", "stages_not_run": ["closed", "open"]})]


def test_too_many_errors_end_the_load_after_their_stage(tmp_path: Path, start_fake_triton: Any) -> None:
    url, _ = start_fake_triton(2, 1)
    stages = [CLOSED | {"warmup_requests": 0}, OPEN]
    assert run(tmp_path, url, stages, model="flaky", error_ratio=0.4).ended == "done"
    result = run(tmp_path, url, stages, model="flaky", error_ratio=0.2)
    assert result.ended == "error_bound" and [window.ended for window in result.windows()] == ["error_bound"]
    assert result.outcomes("open") == {Outcome.NEVER_SENT: 30}
    assert result.events[-1] == ("load_stopped", {"why": "error_bound", "stage": "closed", "stages_not_run": ["open"]})


def test_errors_in_a_row_end_the_load_at_once(tmp_path: Path, start_fake_triton: Any) -> None:
    """The server is gone after a few requests; without the limit, the load would go on failing for half a minute."""
    url, process = start_fake_triton(2, 1)
    stages = [{"name": "one", "concurrency": 4, "requests": 2000}, OPEN]
    gone = when(lambda p: p.counts.completed >= 10, lambda pool: process.kill())
    result = run(tmp_path, url, stages, meanwhile=gone, workers=2, consecutive_errors=30)
    assert result.ended == "error_bound" and [window.ended for window in result.windows()] == ["error_bound"]
    found = result.outcomes("one")
    assert found[Outcome.COMPLETED] >= 10 and found[Outcome.NEVER_SENT] > 1000
    assert result.events[-1] == ("load_stopped", {"why": "error_bound", "stage": "one", "stages_not_run": ["open"]})


def test_several_workers_carry_out_one_plan(tmp_path: Path, start_fake_triton: Any) -> None:
    url, _ = start_fake_triton(10, 2)
    result = run(tmp_path, url, [CLOSED, OPEN, TIMED], workers=3)
    assert result.ended == "done" and {record.outcome for record in result.records} == {Outcome.COMPLETED}
    assert {record.worker for record in result.of("open")} == {0, 1, 2} and len(result.clients) == 3
    offsets = result.plan.stages[1].measured.due_offsets_ns
    assert offsets is not None
    start_ns = {record.due_ns - int(offsets[record.index]) for record in result.of("open")}
    assert len(start_ns) == 1  # one instant for all
    assert result.samples and result.samples.labels("client_loop_lag_ns") == ["0", "1", "2"]


def test_an_interrupt_reaches_every_worker(tmp_path: Path, start_fake_triton: Any) -> None:
    url, _ = start_fake_triton(1, 1)
    twice = when(lambda p: p.counts.in_flight == 4, WorkerPool.interrupt, WorkerPool.interrupt)
    result = run(tmp_path, url, [CLOSED | {"warmup_requests": 0}], model="stuck", meanwhile=twice, workers=2)
    assert result.outcomes("closed") == {Outcome.CANCELLED: 4, Outcome.NEVER_SENT: 20}


def test_a_stage_ends_when_its_figures_are_steady(tmp_path: Path, start_fake_triton: Any) -> None:
    url, _ = start_fake_triton(20, 2)
    stages = [{"name": "long", "concurrency": 2, "duration_s": 60}, {"name": "next", "concurrency": 1, "requests": 3}]
    result = run(tmp_path, url, stages, workers=2, stability={"ratio": 0.9, "windows": 2, "window_s": 0.5})
    assert result.ended == "done" and [window.ended for window in result.windows()] == ["steady", "done"]
    assert set(result.outcomes("long")) == {Outcome.COMPLETED}


def test_a_worker_that_dies_ends_the_load_and_loses_no_record_of_the_others(tmp_path: Path, start_fake_triton: Any) -> None:
    url, _ = start_fake_triton(10, 2)

    def kill(pool: WorkerPool) -> None:
        next(child for child in psutil.Process().children() if "trtbench.load.worker" in child.cmdline()).kill()

    with pytest.raises(WorkerError, match="exit code -9"):
        run(tmp_path, url, [TIMED | {"duration_s": 30}], workers=2, meanwhile=when(lambda p: p.counts.completed > 10, kill))
    assert not [child for child in psutil.Process().children() if "trtbench.load.worker" in child.cmdline()]
    records = DeploymentDirectory(tmp_path).requests()
    assert {record.worker for record in records if record.outcome is Outcome.CANCELLED} <= {0, 1} and len(records) > 10
