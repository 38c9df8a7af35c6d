from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from trtbench.clock import now_ns
from trtbench.load.draw import draw_plan
from trtbench.load.generator import Generator, PhaseResult
from trtbench.load.plan import Phase, PlannedPrompt
from trtbench.load.progress import LoadProgress
from trtbench.load.recorder import Recorder
from trtbench.load.stop import StopSignal
from trtbench.load.workload import UniformPrompts
from trtbench.records import Outcome, RequestRecord
from trtbench.rundir import read_lines
from trtbench.scenario import parse_scenario

pytestmark = pytest.mark.timeout(30)


class FakeClient:
    """Answers each request after `service_s`, with no server; `fault(index)` says otherwise."""

    def __init__(self, service_s: float = 0.01) -> None:
        self.service_s = service_s
        self.in_flight = self.most_in_flight = 0
        self.bodies: list[bytes] = []
        self.faults: dict[int, Outcome | Exception] = {}
        self.stuck: set[int] = set()

    def encode(self, prompt: PlannedPrompt) -> bytes:
        return prompt.input_ids.tobytes()

    async def send(self, record: RequestRecord, body: bytes, deadline_ns: int) -> None:
        record.sent_ns = now_ns()
        self.bodies.append(body)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(60 if record.index in self.stuck else self.service_s)
            fault = self.faults.get(record.index, Outcome.COMPLETED)
            if isinstance(fault, Exception):
                raise fault
            record.outcome = fault
        except asyncio.CancelledError:
            record.outcome = Outcome.CANCELLED
            raise
        finally:
            record.done_ns = now_ns()
            self.in_flight -= 1

    async def close(self) -> None: ...


class Load:
    """One phase of one stage, run to its end with what a test does meanwhile."""

    def __init__(
        self, tmp_path: Path, stage: dict[str, Any], client: FakeClient | None = None, drain_s: float = 20, prompts: int = 50
    ) -> None:
        scenario = parse_scenario({"name": "x", "load": [stage], "workload": {"input_tokens": 4, "distinct_prompts": prompts}}, "test")
        self.part = draw_plan(scenario, UniformPrompts(1000)).stages[0]
        self.client = client or FakeClient()
        self.stop, self.progress, self.path, self.drain_s = StopSignal(), LoadProgress(), tmp_path / "requests.jsonl", drain_s

    def run(self, phase: Phase | None = None, *meanwhile: Any) -> PhaseResult:
        async def main() -> PhaseResult:
            recorder = Recorder(self.path)
            generator = Generator(self.client, recorder, self.stop, self.progress, 30, self.drain_s)
            others = [asyncio.create_task(work) for work in meanwhile]
            try:
                return await generator.run(phase or self.part.measured)
            finally:
                recorder.close()
                await asyncio.gather(*others)
                assert len(asyncio.all_tasks()) == 1  # nothing is left running

        return asyncio.run(main())

    async def later(self, delay_s: float, *steps: Any) -> None:
        for step in steps:
            await asyncio.sleep(delay_s)
            step()

    @property
    def records(self) -> list[RequestRecord]:
        return sorted((RequestRecord.from_json(row) for row in read_lines(self.path)), key=lambda record: record.index)

    def outcomes(self) -> dict[Outcome, int]:
        assert [record.index for record in self.records] == list(range(len(self.records)))
        return dict(Counter(record.outcome for record in self.records))


def test_a_closed_loop_keeps_its_users_busy_and_no_more(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 4, "requests": 40})
    result = load.run()
    assert (result.planned, result.completed, result.ended) == (40, 40, "done")
    assert load.outcomes() == {Outcome.COMPLETED: 40} and load.client.most_in_flight == 4
    starts, dones = sorted(record.due_ns for record in load.records), {record.done_ns for record in load.records}
    assert starts[:4] == [result.start_ns] * 4
    assert all(start in dones for start in starts[4:])  # due the instant the one before was done
    assert all(
        result.start_ns <= record.due_ns <= (record.sent_ns or 0) <= (record.done_ns or 0) <= result.end_ns for record in load.records
    )


def test_more_users_than_requests(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 50, "requests": 3})
    assert load.run().planned == 3 and load.client.most_in_flight == 3


def test_each_request_asks_its_own_prompt(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 1, "requests": 5, "warmup_requests": 2})
    load.run()
    assert load.client.bodies == [prompt.input_ids.tobytes() for prompt in load.part.measured.prompts]
    assert [record.prompt for record in load.records] == [0, 1, 2, 3, 4]


def test_a_warmup_is_marked_and_numbered_behind(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 2, "requests": 5, "warmup_requests": 3})
    assert load.run(load.part.warmup).planned == 3
    assert [(record.warmup, record.prompt) for record in load.records] == [(True, 5), (True, 6), (True, 7)]


def test_a_closed_loop_by_time_takes_prompts_in_turn(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 2, "duration_s": 0.3}, prompts=3)
    result = load.run()
    records = load.records
    assert len(records) == result.planned == result.completed > 10
    assert [record.prompt for record in records] == [index % 3 for index in range(len(records))]
    assert max(record.due_ns for record in records) - result.start_ns < 0.4e9


def test_the_first_of_count_and_time_ends_a_closed_loop(tmp_path: Path) -> None:
    assert Load(tmp_path, {"concurrency": 1, "duration_s": 60, "requests": 3}).run().planned == 3
    by_time = Load(tmp_path / "..", {"concurrency": 1, "duration_s": 0.1, "requests": 1000})
    assert 0 < by_time.run().planned < 1000


def test_an_open_loop_sends_when_due_however_many_are_in_flight(tmp_path: Path) -> None:
    load = Load(tmp_path, {"mode": "constant", "rate": 100, "requests": 30}, FakeClient(service_s=0.5))
    result = load.run()
    assert load.client.most_in_flight == 30 and load.outcomes() == {Outcome.COMPLETED: 30}
    assert [record.due_ns - result.start_ns for record in load.records] == [index * 10_000_000 for index in range(30)]
    assert all((record.sent_ns or 0) >= record.due_ns for record in load.records)


def test_an_open_loop_with_no_arrival_is_over_at_once(tmp_path: Path) -> None:
    result = Load(tmp_path, {"mode": "poisson", "rate": 0.001, "duration_s": 0.001}).run()
    assert (result.planned, result.error_ratio, result.ended) == (0, 0, "done")


def test_a_failing_user_does_not_hammer(tmp_path: Path) -> None:
    client = FakeClient(service_s=0)
    client.faults = dict.fromkeys(range(10_000), Outcome.CONNECTION)
    load = Load(tmp_path, {"concurrency": 1, "duration_s": 0.35}, client)
    result = load.run()
    assert 1 <= result.planned <= 4 and result.error_ratio == 1


def test_an_interrupt_drains(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 3, "requests": 1000}, FakeClient(service_s=0.1))
    result = load.run(None, load.later(0.25, load.stop.interrupt))
    outcomes = load.outcomes()
    assert result.ended == "interrupted" and set(outcomes) == {Outcome.COMPLETED, Outcome.NEVER_SENT}
    assert sum(outcomes.values()) == result.planned == 1000 and 3 <= outcomes[Outcome.COMPLETED] <= 12


def test_an_interrupt_does_not_wait_for_a_far_arrival(tmp_path: Path) -> None:
    load = Load(tmp_path, {"mode": "constant", "rate": 0.01, "requests": 5})
    result = load.run(None, load.later(0.1, load.stop.interrupt))
    assert load.outcomes() == {Outcome.COMPLETED: 1, Outcome.NEVER_SENT: 4}
    assert result.end_ns - result.start_ns < 5e9
    assert load.records[4].due_ns == result.start_ns + 400 * 10**9  # when it would have been


def test_what_does_not_drain_is_cancelled(tmp_path: Path) -> None:
    client = FakeClient()
    client.stuck = {1, 2}
    load = Load(tmp_path, {"mode": "constant", "rate": 100, "requests": 100}, client, drain_s=0.2)
    result = load.run(None, load.later(0.15, load.stop.interrupt))
    outcomes = load.outcomes()
    assert outcomes[Outcome.CANCELLED] == 2 and sum(outcomes.values()) == result.planned == 100


def test_the_second_interrupt_cancels_at_once(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 5, "requests": 50}, FakeClient(service_s=60))
    result = load.run(None, load.later(0.05, load.stop.interrupt, load.stop.interrupt))
    assert load.outcomes() == {Outcome.CANCELLED: 5, Outcome.NEVER_SENT: 45} and result.ended == "interrupted"


def test_a_lost_server_ends_it_with_broken_connections(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 5, "requests": 50}, FakeClient(service_s=60))
    result = load.run(None, load.later(0.05, load.stop.server_lost))
    assert load.outcomes() == {Outcome.CONNECTION: 5, Outcome.NEVER_SENT: 45} and result.ended == "server_lost"


def test_stopped_before_it_started(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 5, "requests": 8})
    load.stop.interrupt()
    assert load.run().ended == "interrupted" and load.outcomes() == {Outcome.NEVER_SENT: 8}


def test_an_interrupted_loop_by_time_has_planned_what_it_took(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 2, "duration_s": 60})
    result = load.run(None, load.later(0.1, load.stop.interrupt))
    assert load.outcomes() == {Outcome.COMPLETED: result.planned}


def test_a_fault_of_the_client_itself_is_not_swallowed(tmp_path: Path) -> None:
    client = FakeClient()
    client.faults = {2: RuntimeError("a bug")}
    load = Load(tmp_path, {"concurrency": 2, "requests": 50}, client)
    with pytest.raises(RuntimeError, match="a bug"):
        load.run()
    assert {record.index: record.outcome for record in load.records}[2] is Outcome.OTHER


def test_a_full_disk_ends_the_load(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 2, "requests": 500})
    load.path = Path("/dev/full")
    with pytest.raises(OSError, match="No space left"):
        load.run()


def test_live_figures_end_where_the_records_do(tmp_path: Path) -> None:
    client = FakeClient()
    client.faults = {3: Outcome.REJECTED, 7: Outcome.TIMEOUT}
    load = Load(tmp_path, {"mode": "poisson", "rate": 200, "requests": 20}, client)
    load.run()
    progress = load.progress
    assert (progress.stage, progress.planned, progress.sent, progress.in_flight) == ("poisson-200", 20, 20, 0)
    assert (progress.completed, progress.failed) == (18, 2)


@pytest.mark.parametrize("seed", range(6))
def test_planned_is_the_sum_of_all_outcomes_whatever_happens(tmp_path: Path, seed: int) -> None:
    """Faults at drawn places, interrupts at drawn times: one record for each planned request, no more."""
    import random

    draw = random.Random(seed)
    client = FakeClient(service_s=0.02)
    client.faults = {index: draw.choice([Outcome.REJECTED, Outcome.OTHER, Outcome.TIMEOUT]) for index in draw.sample(range(80), 10)}
    client.stuck = set(draw.sample(range(80), 3))
    stage = draw.choice([{"concurrency": 6, "requests": 80}, {"mode": "poisson", "rate": 300, "requests": 80}])
    load = Load(tmp_path, stage, client, drain_s=0.1)
    steps = draw.choice(
        [[load.stop.interrupt], [load.stop.interrupt] * 2, [load.stop.server_lost], [load.stop.interrupt, load.stop.server_lost]]
    )
    result = load.run(None, load.later(draw.uniform(0, 0.3), *steps))
    assert sum(load.outcomes().values()) == result.planned == 80
    assert result.completed == load.outcomes().get(Outcome.COMPLETED, 0)
