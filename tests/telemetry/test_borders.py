"""Readings at stage borders: held against what completed, and not held up by a source that hangs."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from trtbench.rundir.records import Sample
from trtbench.system.clock import now_ns
from trtbench.telemetry import borders
from trtbench.telemetry.borders import Border, Borders

pytestmark = pytest.mark.timeout(60)


class FakeLateCounter:
    """Counts as Triton does, but late: each reading shows the next of `counts`, (successful requests, batches of 4, cache hits)."""

    def __init__(self, counts: list[tuple[int, int, int]]) -> None:
        self.counts, self.readings = counts, 0

    def read(self) -> list[Sample]:
        success, batches, hits = self.counts[min(self.readings, len(self.counts) - 1)]
        self.readings += 1
        values = {("triton_success_count", ""): success, ("triton_batch_executions", "4"): batches, ("response_cache_hit_count", ""): hits}
        return [Sample(now_ns(), name, label, float(value)) for (name, label), value in values.items()]

    def close(self) -> None:
        pass


class FakeHanging:
    """Gives no answer within its limit while `hangs` is set; `limits_s` are those it was opened with."""

    def __init__(self) -> None:
        self.hangs = threading.Event()
        self.limits_s: list[float] = []

    def opened(self, limit_s: float) -> FakeHanging:
        self.limits_s.append(limit_s)
        return self

    def read(self) -> list[Sample]:
        if self.hangs.is_set():
            threading.Event().wait(self.limits_s[-1])
            raise TimeoutError("Deadline Exceeded")
        return [Sample(now_ns(), "triton_pending_requests", "", 0.0)]

    def close(self) -> None:
        pass


def after(counter: FakeLateCounter, completed: int) -> Border:
    """The border after `completed` requests, which follows one at the first count."""
    both = Borders(lambda limit_s: {"triton_statistics": lambda: counter})
    both.read()
    return both.read(completed)


def success(border: Border) -> float:
    return next(sample.value for sample in border.samples if sample.name == "triton_success_count")


@pytest.mark.parametrize(
    ("counts", "readings"),
    [
        ([(8, 2, 0), (16, 4, 0)], 2),
        ([(8, 2, 0), (12, 3, 0), (12, 3, 0), (16, 4, 0)], 4),
        ([(8, 2, 0), (16, 3, 0), (16, 4, 0)], 3),  # the requests are counted before their batch is
        ([(8, 2, 0), (12, 2, 4), (16, 2, 8)], 3),  # answered by the response cache, in no batch
        ([(8, 2, 0), (20, 5, 0)], 2),  # other clients' too
        ([(8, 2, 0), (4, 1, 0)], 2),  # began anew: nothing to wait for
    ],
)
def test_a_border_waits_until_what_completed_is_counted(counts: list[tuple[int, int, int]], readings: int) -> None:
    counter, before_ns = FakeLateCounter(counts), now_ns()
    border = after(counter, 8)
    assert counter.readings == readings and border.not_counted == 0
    assert success(border) == counts[-1][0]
    assert {sample.time_ns for sample in border.samples} >= {border.counted_ns}
    assert before_ns < (border.counted_ns or 0) <= now_ns()


def test_a_server_that_counts_too_little_is_not_asked_for_ever() -> None:
    counter = FakeLateCounter([(0, 0, 0), (5, 1, 0)])
    border = after(counter, 8)
    assert 2 < counter.readings <= 2 + len(borders._PAUSES_S)
    assert border.not_counted == 4 and success(border) == 5


def test_what_a_border_lacked_is_not_owed_to_the_next() -> None:
    counter = FakeLateCounter([(0, 0, 0)])
    both = Borders(lambda limit_s: {"triton_statistics": lambda: counter})
    assert [both.read().not_counted, both.read(4).not_counted] == [0, 4]
    counter.counts, counter.readings = [(8, 2, 0)], 0
    assert both.read(4).not_counted == 0 and counter.readings == 1


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeHanging]:
    monkeypatch.setattr(borders, "_ANSWER_S", 0.2)
    monkeypatch.setattr(borders, "_ANSWER_HUNG_S", 0.05)
    yield FakeHanging()


def test_a_source_that_hung_is_given_less_time_until_it_answers(hanging: FakeHanging) -> None:
    counter = FakeLateCounter([(8, 2, 0)])
    both = Borders(lambda limit_s: {"triton_metrics": lambda: hanging.opened(limit_s), "triton_statistics": lambda: counter})
    hanging.hangs.set()
    assert {sample.name for sample in both.read().samples} >= {"triton_success_count"}
    both.read()
    hanging.hangs.clear()
    assert "triton_pending_requests" in {sample.name for sample in both.read().samples}
    both.read()
    assert hanging.limits_s == [0.2, 0.05, 0.05, 0.2]
    tally = both.tallies["triton_metrics"]
    assert (tally.readings, tally.failures) == (2, 2)
    assert tally.last_error == "no answer within 0.05 s, next limit 0.05 s: TimeoutError: Deadline Exceeded"
    assert (both.tallies["triton_statistics"].readings, both.tallies["triton_statistics"].failures) == (4, 0)


def test_a_source_that_fails_at_once_is_given_its_whole_time_again(hanging: FakeHanging) -> None:
    both = Borders(lambda limit_s: {"absent": lambda: _absent(hanging, limit_s)})
    assert [both.read(), both.read()] == [Border([]), Border([])]
    assert hanging.limits_s == [0.2, 0.2] and both.tallies["absent"].failures == 2


def _absent(hanging: FakeHanging, limit_s: float) -> FakeHanging:
    hanging.opened(limit_s)
    raise ConnectionRefusedError("nobody listens")
