from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from trtbench.client.protocol import Limits
from trtbench.load.attempts import Attempts, StopSignal
from trtbench.load.deadline_timer import DeadlineTimer
from trtbench.load.generator import Generator, PhaseResult
from trtbench.load.share import Share
from trtbench.load.tally import LoadProgress, Recorder
from trtbench.plan.draw import draw_plan
from trtbench.plan.plan import Phase, PlannedPrompt
from trtbench.plan.sources.prompt_source import UniformPrompts
from trtbench.rundir.lines import read_lines
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.reading import parse_scenario
from trtbench.system.clock import now_ns

pytestmark = pytest.mark.timeout(30)


class FakeClient:
    """Answers each request after `service_s`, with no server; `fault(index)` says otherwise."""

    def __init__(self, service_s: float = 0.01) -> None:
        self.service_s = service_s
        self.in_flight = self.most_in_flight = 0
        self.bodies: list[bytes] = []
        self.faults: dict[int, Outcome | Exception] = {}
        self.stuck: set[int] = set()
        self.heals: set[int] = set()  # requests whose fault is gone at the next attempt
        self.prepared: list[int] = []

    def encode_request(self, prompt: PlannedPrompt, context: Sequence[int] = ()) -> bytes:
        return np.array([*context, *prompt.input_ids], np.int32).tobytes()

    async def open_streams(self, streams: int) -> None:
        self.prepared.append(streams)

    def transport_facts(self) -> dict[str, Any]:
        return {}

    async def send_request(self, record: RequestRecord, body: bytes, limits: Limits) -> None:
        record.sent_ns = now_ns()
        self.bodies.append(body)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        try:
            await asyncio.sleep(60 if record.index in self.stuck else self.service_s)
            fault = self.faults.get(record.index, Outcome.COMPLETED)
            if record.index in self.heals:
                self.faults.pop(record.index, None)
            if limits.cancel_after_tokens:
                fault = Outcome.CANCELLED
            record.output_ids = [7, 8]
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

    def run(self, phase: Phase | None = None, *meanwhile: Any, share: Share = Share(), retries: int = 0) -> PhaseResult:  # noqa: B008
        if share.workers > 1:
            self.stop = StopSignal()  # one is for one event loop

        async def main() -> PhaseResult:
            recorder, timer = Recorder(self.path), DeadlineTimer()
            attempts = Attempts(self.client, 30, retries, 0.01)
            generator = Generator(attempts, recorder, self.progress, timer, self.drain_s, share.worker)
            others = [asyncio.create_task(work) for work in meanwhile]
            try:
                run = await generator.prepare_phase(phase or self.part.measured, share, self.stop)
                return await run.run_phase(now_ns())
            finally:
                timer.close()
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


def test_an_open_loop_with_a_bound_on_what_is_in_flight(tmp_path: Path) -> None:
    """A request that finds no free place waits for one and stays due as planned; the end of its wait is recorded.

    A machine that stops for longer than a request takes frees places before the next request is looked at, which then waits for none.
    """
    load = Load(tmp_path, {"mode": "constant", "rate": 1000, "requests": 40, "max_in_flight": 4})
    result = load.run()
    assert result.completed == 40
    assert load.client.most_in_flight == 4
    assert load.client.prepared == [4]
    assert all(record.due_ns == result.start_ns + record.index * 1_000_000 for record in load.records)
    waited = [record for record in load.records if record.admitted_ns is not None]
    assert waited
    for record in waited:
        assert record.due_ns <= (record.admitted_ns or 0) <= (record.sent_ns or 0)
        assert sum((other.done_ns or 0) <= (record.admitted_ns or 0) for other in load.records) >= record.index - 3


def test_a_bound_that_is_not_reached_changes_nothing(tmp_path: Path) -> None:
    dues = []
    for bound in ({}, {"max_in_flight": 50}):
        load = Load(tmp_path, {"mode": "constant", "rate": 200, "requests": 10} | bound, FakeClient(0.001))
        load.path = tmp_path / f"{len(dues)}.jsonl"
        start_ns = load.run().start_ns
        dues.append([record.due_ns - start_ns for record in load.records])
    assert dues[0] == dues[1]


def test_workers_share_the_places(tmp_path: Path) -> None:
    load = Load(tmp_path, {"mode": "constant", "rate": 1000, "requests": 20, "max_in_flight": 3})
    for worker, places in ((0, 2), (1, 1)):
        load.client.most_in_flight = 0
        assert load.run(share=Share(worker, 2)).completed == 10
        assert load.client.most_in_flight == places
    assert Share(3, 8).of(load.part.measured) is None


def test_an_interrupt_while_requests_wait_for_a_place(tmp_path: Path) -> None:
    load = Load(tmp_path, {"mode": "constant", "rate": 1000, "requests": 40, "max_in_flight": 2}, FakeClient(0.05))
    result = load.run(None, load.later(0.08, lambda: load.stop.interrupt()))
    assert result.ended == "interrupted" and result.planned == 40
    found = load.outcomes()
    assert set(found) == {Outcome.COMPLETED, Outcome.NEVER_SENT} and sum(found.values()) == 40


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
    assert (result.planned, result.completed, result.ended) == (0, 0, "done")


def test_a_failing_user_does_not_hammer(tmp_path: Path) -> None:
    client = FakeClient(service_s=0)
    client.faults = dict.fromkeys(range(10_000), Outcome.CONNECTION)
    load = Load(tmp_path, {"concurrency": 1, "duration_s": 0.35}, client)
    result = load.run()
    assert 1 <= result.planned <= 4 and result.completed == 0


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
    progress, counts = load.progress, load.progress.counts
    assert (progress.stage, progress.planned, counts.sent, counts.in_flight) == ("poisson-200", 20, 20, 0)
    assert (counts.completed, counts.failed) == (18, 2)


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


def phase_of(load: Load, prompts: Sequence[PlannedPrompt], **changes: Any) -> Phase:
    return replace(load.part.measured, prompts=tuple(prompts), **changes)


def test_workers_share_the_plan_without_gap_or_overlap(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 5, "requests": 41})
    planned = []
    for worker in range(3):
        planned.append(load.run(share=Share(worker, 3)).planned)
        assert {record.worker for record in load.records} >= {worker}
    assert load.outcomes() == {Outcome.COMPLETED: 41} and planned == [14, 14, 13]
    assert load.client.prepared == [2, 2, 1]


def test_a_worker_with_no_user_left_for_it_does_nothing(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 2, "requests": 9})
    assert [load.run(share=Share(worker, 4)).planned for worker in range(4)] == [5, 4, 0, 0]
    assert load.outcomes() == {Outcome.COMPLETED: 9}


def test_workers_share_a_loop_by_time(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 2, "duration_s": 0.1}, prompts=3)
    for worker in range(2):
        load.run(share=Share(worker, 2))
    assert {record.index % 2: record.worker for record in load.records} == {0: 0, 1: 1}
    assert all(record.prompt == record.index % 3 for record in load.records)


def test_users_enter_and_leave_when_planned(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 2, "duration_s": 0.4})
    users_ns = np.array([[0, 100_000_000], [200_000_000, -1]])
    result = load.run(replace(load.part.measured, users_ns=users_ns))
    dues_s = [(record.due_ns - result.start_ns) / 1e9 for record in load.records]
    assert load.client.most_in_flight == 1 and dues_s[0] == 0
    assert not [due_s for due_s in dues_s if 0.1 <= due_s < 0.2] and 0.2 in dues_s and max(dues_s) < 0.4


def test_a_user_thinks_between_requests(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 1, "requests": 4})
    load.run(phase_of(load, [replace(prompt, think_ns=30_000_000) for prompt in load.part.measured.prompts]))
    records = load.records
    assert records[0].due_ns + 20_000_000 < (records[0].done_ns or 0) + 30_000_000 == records[1].due_ns
    assert [later.due_ns - (before.done_ns or 0) for before, later in pairwise(records)] == [30_000_000] * 3


def session_prompts(load: Load, turns: int) -> list[PlannedPrompt]:
    prompts = load.part.measured.prompts
    return [replace(prompt, session=at // turns, turn=at % turns, think_ns=1_000_000) for at, prompt in enumerate(prompts)]


def test_a_session_grows_by_its_own_answers(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 2, "requests": 7})
    load.run(phase_of(load, session_prompts(load, 3)))
    assert load.outcomes() == {Outcome.COMPLETED: 7}
    assert [(record.session, record.turn, record.input_tokens) for record in load.records] == [
        (0, 0, 4), (0, 1, 10), (0, 2, 16), (1, 0, 4), (1, 1, 10), (1, 2, 16), (2, 0, 4),
    ]  # fmt: skip
    first, second = load.part.measured.prompts[:2]
    assert np.array([*first.input_ids, 7, 8, *second.input_ids], np.int32).tobytes() in load.client.bodies


def test_a_broken_session_is_not_gone_on_with(tmp_path: Path) -> None:
    client = FakeClient()
    client.faults = {1: Outcome.REJECTED}
    load = Load(tmp_path, {"concurrency": 1, "requests": 7}, client)
    assert load.run(phase_of(load, session_prompts(load, 3))).planned == 7
    assert load.outcomes() == {Outcome.COMPLETED: 5, Outcome.REJECTED: 1, Outcome.NEVER_SENT: 1}
    assert "earlier turn" in load.records[2].error


def test_an_interrupted_session_is_accounted_for(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 2, "requests": 30}, FakeClient(service_s=0.05))
    load.run(phase_of(load, session_prompts(load, 3)), load.later(0.12, load.stop.interrupt))
    outcomes = load.outcomes()
    assert set(outcomes) == {Outcome.COMPLETED, Outcome.NEVER_SENT} and sum(outcomes.values()) == 30


def test_sessions_of_an_open_loop_begin_when_due(tmp_path: Path) -> None:
    load = Load(tmp_path, {"mode": "constant", "rate": 50, "requests": 9})
    phase = phase_of(load, session_prompts(load, 3), due_offsets_ns=np.array([0, 20_000_000, 40_000_000]))
    result = load.run(phase)
    assert result.planned == 9 and load.outcomes() == {Outcome.COMPLETED: 9}
    assert [r.due_ns - result.start_ns for r in load.records if r.turn == 0] == [0, 20_000_000, 40_000_000]


def test_a_failure_without_a_token_is_retried_as_often_as_allowed(tmp_path: Path) -> None:
    client = FakeClient()
    client.faults, client.heals = {1: Outcome.REJECTED, 2: Outcome.REJECTED, 3: Outcome.TOO_LONG}, {1}
    load = Load(tmp_path, {"concurrency": 1, "requests": 5}, client)
    load.run(retries=2)
    assert [(record.outcome, record.attempts) for record in load.records] == [
        (Outcome.COMPLETED, 1), (Outcome.COMPLETED, 2), (Outcome.REJECTED, 3), (Outcome.TOO_LONG, 1), (Outcome.COMPLETED, 1),
    ]  # fmt: skip


def test_a_planned_cancellation_is_no_failure_of_its_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trtbench.load.generator._FAILURE_PAUSE_NS", 10**12)  # a pause as after a failure would outlast the test
    load = Load(tmp_path, {"concurrency": 1, "requests": 6})
    prompts = [replace(prompt, cancel_after_tokens=2) for prompt in load.part.measured.prompts]
    result = load.run(phase_of(load, prompts))
    assert (result.cancelled_as_planned, result.completed, load.progress.counts.failed) == (6, 0, 0)
    assert all(record.planned_cancel for record in load.records)


def test_steady_figures_drain_what_is_in_flight(tmp_path: Path) -> None:
    load = Load(tmp_path, {"concurrency": 3, "duration_s": 60}, FakeClient(service_s=0.1))
    result = load.run(None, load.later(0.25, load.stop.steady))
    assert result.ended == "steady" and load.outcomes() == {Outcome.COMPLETED: result.planned}
