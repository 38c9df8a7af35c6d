from __future__ import annotations

import asyncio
import signal
import subprocess
import sys

import pytest

from trtbench.system.interrupts import (
    Terminated,
    came,
    interrupts_call,
    signals_end_in_their_codes,
    signals_raise,
    signals_wait,
)


def test_sigterm_raises_and_what_was_set_before_is_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), signals_raise():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


async def _signalled(taken: list[int]) -> list[int]:
    with interrupts_call(taken.append) as caught:
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.raise_signal(signum)
            while signum not in taken:
                await asyncio.sleep(0)
    return caught


@pytest.mark.timeout(30)
def test_both_signals_go_to_the_loop_and_then_raise_again() -> None:
    taken: list[int] = []
    with signals_raise():
        assert asyncio.run(_signalled(taken)) == taken == [signal.SIGINT, signal.SIGTERM]
        with pytest.raises(Terminated):
            signal.raise_signal(signal.SIGTERM)


def test_a_second_signal_does_not_raise_while_the_first_unwinds() -> None:
    unwound = []
    with signals_end_in_their_codes() as ending:
        try:
            signal.raise_signal(signal.SIGTERM)
        finally:
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
                signal.raise_signal(signum)
            unwound.append(True)
    assert (ending.code, unwound) == (143, [True])


def test_a_signal_of_an_earlier_command_is_not_one_of_the_next() -> None:
    with signals_end_in_their_codes():
        signal.raise_signal(signal.SIGINT)
    assert came() == signal.SIGINT
    with signals_end_in_their_codes():
        assert came() is None


def test_a_signal_waits_for_what_must_not_be_left_half_done() -> None:
    done = []
    with signals_end_in_their_codes() as ending, signals_wait():
        signal.raise_signal(signal.SIGINT)
        done.append(True)
    assert (ending.code, done) == (130, [True])


SIGNAL_AT_IMPORT = """
import signal, sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == sys.argv[1]:
            signal.raise_signal(signal.SIGINT)

sys.modules.pop(sys.argv[1], None)
sys.meta_path.insert(0, Finder())
import trtbench.__main__
"""


@pytest.mark.process
@pytest.mark.parametrize("module", ["typing", "trtbench.system.interrupts", "threading"])
def test_a_first_import_that_a_signal_interrupts_ends_in_one_line(module: str) -> None:
    ended = subprocess.run([sys.executable, "-c", SIGNAL_AT_IMPORT, module], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stderr) == (130, "trtbench: interrupted by SIGINT\n")
