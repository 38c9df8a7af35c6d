from __future__ import annotations

import asyncio
import threading

import pytest

from trtbench.system.abandoned_call import within_interrupt


def test_what_hangs_is_left_behind_soon_after_an_interrupt() -> None:
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
