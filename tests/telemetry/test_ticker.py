from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.rundir.lines import LineWriter, read_lines
from trtbench.rundir.records import Sample
from trtbench.system.clock import now_ns, sleep_s
from trtbench.telemetry.ticker import ReadingTally, Source, Ticker, Together, next_tick, summed, together

INTERVAL_NS = 10_000_000


@given(st.integers(0, 2**62), st.integers(1, 10**10), st.integers(0, 2**62))
def test_next_tick_is_the_first_that_is_not_past(start_ns: int, interval_ns: int, instant_ns: int) -> None:
    tick = next_tick(start_ns, interval_ns, instant_ns)
    assert tick >= 0
    assert start_ns + tick * interval_ns >= instant_ns
    assert tick == 0 or start_ns + (tick - 1) * interval_ns < instant_ns


class FakeSource:
    """Gives the instant of each reading; waits or fails in the readings that `slow_s` and `failing` name."""

    def __init__(self, slow_s: dict[int, float] | None = None, failing: set[int] | None = None) -> None:
        self.slow_s = slow_s or {}
        self.failing = failing or set()
        self.count = 0
        self.closed = False

    def read(self) -> list[Sample]:
        index, self.count = self.count, self.count + 1
        time_ns = now_ns()
        sleep_s(self.slow_s.get(index, 0))
        if index in self.failing:
            raise ConnectionError(f"reading {index}")
        return [Sample(time_ns, "x", "", index)]

    def close(self) -> None:
        self.closed = True


def _run(source: Source, seconds: float, path: Path) -> tuple[ReadingTally, int, list[int]]:
    """The tally, the grid's start and the readings' instants of a ticker that ran for `seconds`."""
    stop = threading.Event()
    start_ns = now_ns()
    with closing(LineWriter(path)) as writer:
        ticker = Ticker("fake", lambda: source, writer, start_ns, INTERVAL_NS, stop)
        ticker.start()
        sleep_s(seconds)
        stop.set()
        ticker.join(5)
        assert not ticker.is_alive()
    return ticker.tally, start_ns, [row[0] for row in read_lines(path)]


def test_no_reading_before_its_deadline(tmp_path: Path) -> None:
    source = FakeSource()
    tally, start_ns, times = _run(source, 0.3, tmp_path / "s.jsonl")
    assert tally.readings == len(times) == source.count > 3
    assert source.closed
    # Reading k comes at or after deadline k: summed sleeps would drift off the grid, catching up would bunch.
    assert all(time_ns >= start_ns + index * INTERVAL_NS for index, time_ns in enumerate(times[:-1]))  # the last is that of the stop


def test_what_came_after_the_last_tick_is_read_at_the_stop(tmp_path: Path) -> None:
    """Of a source that hands out what has happened once, as XIDs are."""
    stop, happened = threading.Event(), ["before"]

    class Once(FakeSource):
        def read(self) -> list[Sample]:
            told = [Sample(now_ns(), "x", label, 1.0) for label in happened]
            happened.clear()
            return told

    with closing(LineWriter(tmp_path / "s.jsonl")) as writer:
        ticker = Ticker("fake", Once, writer, now_ns(), 3600 * 1_000_000_000, stop)
        ticker.start()
        while ticker.tally.readings < 1:
            sleep_s(0.01)
        happened.append("after")
        stop.set()
        ticker.join(5)
    assert [row[2] for row in read_lines(tmp_path / "s.jsonl")] == ["before", "after"]
    assert ticker.tally.readings == 2


def test_ticks_missed_by_a_slow_reading_are_skipped_not_bunched(tmp_path: Path) -> None:
    tally, start_ns, times = _run(FakeSource(slow_s={1: 0.1}), 0.3, tmp_path / "s.jsonl")
    assert tally.skipped >= 8  # about 9 deadlines passed during the slow reading
    after = times[2:]
    assert all(time_ns - start_ns >= 0.1e9 for time_ns in after)
    assert len(after) <= 0.2e9 / INTERVAL_NS + 2  # one a tick: a bunch would add those that were missed


def test_a_failing_reading_writes_nothing_and_the_next_goes_on(tmp_path: Path) -> None:
    tally, _, times = _run(FakeSource(failing={0, 2}), 0.2, tmp_path / "s.jsonl")
    assert tally.failures == 2
    assert tally.last_error == "ConnectionError: reading 2"
    assert tally.readings == len(times) > 2


def test_a_source_that_cannot_be_opened_is_tried_again(tmp_path: Path) -> None:
    attempts = []

    def open_source() -> Source:
        attempts.append(1)
        if len(attempts) < 3:
            raise OSError("not yet")
        return FakeSource()

    stop = threading.Event()
    with closing(LineWriter(tmp_path / "s.jsonl")) as writer:
        ticker = Ticker("fake", open_source, writer, now_ns(), INTERVAL_NS, stop)
        ticker.start()
        sleep_s(0.2)
        stop.set()
        ticker.join(5)
    assert ticker.tally.failures == 2
    assert ticker.tally.readings > 0
    assert len(attempts) == 3


def test_a_hanging_source_does_not_hold_up_another(tmp_path: Path) -> None:
    stop = threading.Event()
    hangs, quick = FakeSource(slow_s={0: 0.3}), FakeSource()
    with closing(LineWriter(tmp_path / "s.jsonl")) as writer:
        tickers = [Ticker("fake", lambda source=source: source, writer, now_ns(), INTERVAL_NS, stop) for source in (hangs, quick)]
        for ticker in tickers:
            ticker.start()
        sleep_s(0.25)
        assert hangs.count == 1
        assert quick.count > 5
        stop.set()
        for ticker in tickers:
            ticker.join(5)


def test_a_full_disk_is_a_failure_of_the_tick() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full here")
    stop = threading.Event()
    with closing(LineWriter(full)) as writer:
        ticker = Ticker("fake", FakeSource, writer, now_ns(), INTERVAL_NS, stop)
        ticker.start()
        sleep_s(0.05)
        stop.set()
        ticker.join(5)
    assert ticker.tally.readings == 0
    assert ticker.tally.failures > 0
    assert "No space left" in ticker.tally.last_error


class Fixed:
    def __init__(self, samples: list[Sample] | None) -> None:
        self.samples, self.closed = samples, False

    def read(self) -> list[Sample]:
        if self.samples is None:
            raise OSError("gone")
        return self.samples

    def close(self) -> None:
        self.closed = True


def values(samples: list[Sample]) -> dict[tuple[str, str], float]:
    return {(sample.name, sample.label): sample.value for sample in samples}


def test_counts_and_levels_add_up_sizes_do_not_and_each_servers_successes_are_kept() -> None:
    first = [
        Sample(10, "triton_success_count", "", 5),
        Sample(10, "kv_block_tokens", "", 32),
        Sample(10, "triton_batch_executions", "4", 1),
    ]
    second = [Sample(20, "triton_success_count", "", 7), Sample(20, "kv_block_tokens", "", 32)]
    read = Together([Fixed(first), Fixed(second)]).read()
    assert values(read) == {
        ("triton_success_count", ""): 12,
        ("kv_block_tokens", ""): 32,
        ("triton_batch_executions", "4"): 1,
        ("replica_success_count", "0"): 5,
        ("replica_success_count", "1"): 7,
    }
    assert {sample.time_ns for sample in read} == {15}


def test_a_size_is_that_of_the_servers_that_report_it() -> None:
    read = values(summed([[Sample(1, "kv_block_tokens", "", 32)], [Sample(1, "kv_blocks_used", "", 7)]]))
    assert read == {("kv_block_tokens", ""): 32, ("kv_blocks_used", ""): 7}


@given(st.lists(st.lists(st.integers(0, 10**9), max_size=1), min_size=2, max_size=5))
def test_the_sum_of_each_is_the_whole(counts: list[list[int]]) -> None:
    read = values(summed([[Sample(1, "triton_success_count", "", count) for count in each] for each in counts]))
    assert sum(value for (name, _), value in read.items() if name == "replica_success_count") == read.get(("triton_success_count", ""), 0)


def test_one_that_fails_fails_the_reading_and_all_are_closed() -> None:
    sources = [Fixed([]), Fixed(None)]
    both = Together(sources)
    with pytest.raises(OSError, match="gone"):
        both.read()
    both.close()
    assert all(source.closed for source in sources)


def test_a_single_server_is_read_as_it_is() -> None:
    alone = Fixed([])
    assert together([alone]) is alone
