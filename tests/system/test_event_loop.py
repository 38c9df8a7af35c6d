from __future__ import annotations

import asyncio
import gc
import importlib.util
import threading
import time

import pytest

from trtbench.system.event_loop import loop_name, new_loop, no_collections, probe_lag, watched_collections, within_interrupt

pytestmark = pytest.mark.timeout(30)


def test_collections_are_off_within_and_as_before_after() -> None:
    assert gc.isenabled()
    with pytest.raises(RuntimeError), no_collections():
        assert not gc.isenabled() and gc.get_freeze_count() > 0
        raise RuntimeError
    assert gc.isenabled() and gc.get_freeze_count() == 0


def test_each_collection_is_reported_while_watched() -> None:
    pauses_ns: list[int] = []
    with watched_collections(pauses_ns.append):
        gc.collect()
    gc.collect()
    assert len(pauses_ns) == 1 and pauses_ns[0] > 0


@pytest.mark.parametrize("fast", [True, False])
def test_a_loop_knows_its_name(fast: bool) -> None:
    async def name() -> str:
        return loop_name()

    loop = new_loop(fast)
    try:
        assert loop.run_until_complete(name()) == ("uvloop" if fast and importlib.util.find_spec("uvloop") else "asyncio")
    finally:
        loop.close()


def test_the_probe_sees_a_blocked_loop() -> None:
    lags_ns: list[int] = []

    async def main() -> None:
        probe = asyncio.create_task(probe_lag(lags_ns.append))
        await asyncio.sleep(0.25)
        time.sleep(0.2)
        await asyncio.sleep(0.25)
        probe.cancel()

    asyncio.run(main())
    assert len(lags_ns) >= 3 and min(lags_ns) >= 0
    assert max(lags_ns) > 150_000_000


def test_a_call_that_hangs_is_abandoned_soon_after_an_interrupt() -> None:
    over = threading.Event()

    async def main() -> list[object]:
        waited = await within_interrupt(over.wait, lambda: True, patience_s=0.3)
        answered = await within_interrupt(lambda: 5, lambda: True, patience_s=30)
        with pytest.raises(OSError, match="broken"):
            await within_interrupt(lambda: (_ for _ in ()).throw(OSError("broken")), lambda: False, patience_s=30)
        return [waited, answered]

    try:
        assert asyncio.run(main()) == [None, 5]
    finally:
        over.set()
