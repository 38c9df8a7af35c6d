"""Commands that a signal ends at random instants, from their first instruction on: one line, 130 or 143, and nothing is left."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.support.command import Command, ran
from tests.support.fakes.fake_servers import FakeServer

pytestmark = pytest.mark.timeout(150)

SEED = 20261130
SIGNALS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}


@pytest.fixture(autouse=True)
def _signals_reach_children() -> Iterator[None]:
    """Under nohup these tests ignore SIGHUP, and what they start would too."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


def takes_signals(command: Command) -> bool:
    """Whether its first instructions are done: the kernel knows a handler of SIGTERM."""
    status = Path(f"/proc/{command.process.pid}/status").read_text()
    caught = int(next(line for line in status.splitlines() if line.startswith("SigCgt:")).split()[1], 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def bench(directory: Path, server: FakeServer, *flags: str) -> Command:
    load = ("--concurrency", "2", "--request-count", "40", "--osl", "8", "--vocab-size", "1000", *flags)
    address = ("--url", server.url, "--model", "tensorrt_llm", "--artifact-dir", str(directory / "runs"))
    return Command(directory, "bench", *address, *load, draws=True)  # a signal may come while it draws


def assert_it_ended_in_one_line(command: Command, codes: set[int], what: str) -> None:
    code = command.wait(60)
    assert code in codes, f"{what}: {code}\n{command.out}\n{command.err}"
    for words in ("Traceback", "Exception ignored"):
        assert words not in command.err + command.out, what
    if code == 4:
        assert ran(code, command.directory), what
    elif code:
        assert "nterrupted" in command.err, what
    command.assert_nothing_left()


def whole_length_s(command: Command) -> float:
    began = time.monotonic()
    command.wait_for(lambda: takes_signals(command))
    assert ran(command.wait(), command.directory), command.err
    return time.monotonic() - began


@pytest.mark.parametrize(("name", "instants"), [("bench", 8), ("scenarios", 12)])
def test_at_random_instants(name: str, instants: int, fake_server: FakeServer, tmp_path: Path) -> None:
    def start(number: int | str) -> Command:
        directory = tmp_path / f"run-{number}"
        return bench(directory, fake_server) if name == "bench" else Command(directory, name, draws=True)

    chance = random.Random(SEED)
    length_s = whole_length_s(start("whole"))
    for number in range(instants):
        after_s, signum = chance.uniform(0, length_s), chance.choice(list(SIGNALS))
        times = chance.choice((1, 1, 3))
        what = f"{name}: seed {SEED}, number {number}: {times} x {signum.name} {after_s:.3f} s after its first instruction"
        print(what)
        command = start(number)
        command.wait_for(lambda one=command: takes_signals(one))
        time.sleep(after_s)
        for _ in range(times):
            if command.process.poll() is None:
                command.interrupt(signum)
            time.sleep(0.05 if times > 1 else 0)
        assert_it_ended_in_one_line(command, {0, 4, SIGNALS[signum]}, what)


@pytest.mark.parametrize("signum", list(SIGNALS))
def test_as_soon_as_it_runs(signum: signal.Signals, fake_server: FakeServer, tmp_path: Path) -> None:
    command = bench(tmp_path / "run", fake_server)
    command.wait_for(lambda: takes_signals(command))
    command.interrupt(signum)
    assert_it_ended_in_one_line(command, {SIGNALS[signum]}, "at its start")
    assert command.err == f"trtbench: interrupted by {signum.name}\n"


def test_while_many_workers_start(fake_server: FakeServer, tmp_path: Path) -> None:
    command = Command(
        *(tmp_path / "run", "bench", "--url", fake_server.url, "--model", "tensorrt_llm", "--vocab-size", "1000", "--workers", "64"),
        *("--artifact-dir", str(tmp_path / "run" / "runs"), "--concurrency", "64", "--request-count", "64", "--osl", "8"),
    )
    command.wait_for(lambda: len(psutil.Process(command.process.pid).children()) > 4)
    command.process.terminate()
    began = time.monotonic()
    assert_it_ended_in_one_line(command, {143}, "many workers")
    assert time.monotonic() - began < 30
