from __future__ import annotations

import asyncio
import signal

import pytest

from trtbench.interrupts import Terminated, interrupts_call, sigterm_raises


def test_sigterm_raises_and_what_was_set_before_is_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Terminated), sigterm_raises():
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
    with sigterm_raises():
        assert asyncio.run(_signalled(taken)) == taken == [signal.SIGINT, signal.SIGTERM]
        with pytest.raises(Terminated):
            signal.raise_signal(signal.SIGTERM)
