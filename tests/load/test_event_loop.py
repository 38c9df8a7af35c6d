from __future__ import annotations

import asyncio
import gc
import time

import pytest

from trtbench.clock import now_ns
from trtbench.load.event_loop import no_collections, probe_lag, wake_at

pytestmark = pytest.mark.timeout(30)


def test_collections_are_off_within_and_as_before_after() -> None:
    assert gc.isenabled()
    with pytest.raises(RuntimeError), no_collections():
        assert not gc.isenabled() and gc.get_freeze_count() > 0
        raise RuntimeError
    assert gc.isenabled() and gc.get_freeze_count() == 0


def test_nobody_wakes_early_and_others_run_meanwhile() -> None:
    async def main() -> tuple[list[int], int]:
        turns = 0

        async def other() -> None:
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(other())
        late_ns = []
        for _ in range(20):
            due_ns = now_ns() + 2_500_000
            await wake_at(due_ns)
            late_ns.append(now_ns() - due_ns)
        task.cancel()
        return late_ns, turns

    late_ns, turns = asyncio.run(main())
    assert min(late_ns) >= 0 and turns > 20
    assert sorted(late_ns)[5] < 1_000_000


def test_an_instant_that_has_passed_does_not_wait() -> None:
    start_ns = now_ns()
    asyncio.run(wake_at(start_ns - 10**12))
    assert now_ns() - start_ns < 10**9


def test_the_probe_sees_a_blocked_loop() -> None:
    lags_ns: list[int] = []

    async def main() -> None:
        probe = asyncio.create_task(probe_lag(lags_ns.append))
        await asyncio.sleep(0.05)
        time.sleep(0.2)
        await asyncio.sleep(0.05)
        probe.cancel()

    asyncio.run(main())
    assert len(lags_ns) >= 3 and min(lags_ns) >= 0
    assert max(lags_ns) > 150_000_000
