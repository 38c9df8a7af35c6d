from __future__ import annotations

import asyncio
from typing import Any

import pytest

from trtbench.load.deadline_timer import DeadlineTimer
from trtbench.system.clock import now_ns
from trtbench.system.event_loop import new_loop

pytestmark = pytest.mark.timeout(30)


@pytest.fixture(params=["uvloop", "asyncio"])
def run(request: pytest.FixtureRequest) -> Any:
    """Runs `work(timer)` on either loop."""

    async def main(work: Any) -> Any:
        timer = DeadlineTimer()
        try:
            return await work(timer)
        finally:
            timer.close()

    loop = new_loop(fast=request.param == "uvloop")
    yield lambda work: loop.run_until_complete(main(work))
    loop.close()


def test_nobody_wakes_early(run: Any) -> None:
    async def work(timer: DeadlineTimer) -> list[int]:
        late_ns = []
        for _ in range(30):
            due_ns = now_ns() + 2_345_678
            await timer.until(due_ns)
            late_ns.append(now_ns() - due_ns)
        return late_ns

    assert min(run(work)) >= 0


def test_many_wait_at_once_and_wake_in_order(run: Any) -> None:
    async def work(timer: DeadlineTimer) -> list[int]:
        start_ns, order = now_ns(), []

        async def wait(number: int) -> None:
            await timer.until(start_ns + 500_000_000 - number * 1_000_000)
            order.append(number)

        await asyncio.gather(*map(wait, range(40)))
        return order

    assert run(work) == list(range(39, -1, -1))


def test_an_instant_that_has_passed_does_not_wait(run: Any) -> None:
    run(lambda timer: timer.until(now_ns() - 10**12))


def test_release_wakes_everyone(run: Any) -> None:
    async def work(timer: DeadlineTimer) -> None:
        asyncio.get_running_loop().call_later(0.02, timer.release)
        await asyncio.gather(*(timer.until(now_ns() + seconds * 10**9) for seconds in (100, 200)))

    run(work)


def test_one_who_no_longer_waits_does_not_hold_up_the_others(run: Any) -> None:
    async def work(timer: DeadlineTimer) -> None:
        gone = asyncio.create_task(timer.until(now_ns() + 10_000_000))
        await asyncio.sleep(0)
        gone.cancel()
        await timer.until(now_ns() + 20_000_000)

    run(work)
