"""A blocking call that an interrupt does not have to wait for: it goes on in a thread that ends with the process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

_LOOK_S = 0.25
_T = TypeVar("_T")


async def within_interrupt(read: Callable[[], _T], interrupted: Callable[[], bool], patience_s: float) -> _T | None:
    """What `read` returns in a thread of its own, or None `patience_s` after `interrupted` has become true: the thread is left behind."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[_T] = loop.create_future()

    def settle(value: _T | None, error: BaseException | None) -> None:
        if not answer.done():
            answer.set_exception(error) if error else answer.set_result(value)  # type: ignore[arg-type]

    def run() -> None:
        value, error = None, None
        try:
            value = read()
        except BaseException as fault:
            error = fault
        with suppress(RuntimeError):  # the loop may be gone
            loop.call_soon_threadsafe(settle, value, error)

    threading.Thread(target=run, name="left-behind", daemon=True).start()
    left_s = patience_s
    while not answer.done():
        await asyncio.wait([answer], timeout=_LOOK_S)
        left_s -= _LOOK_S if interrupted() else 0
        if left_s <= 0 and not answer.done():
            answer.cancel()
            return None
    return answer.result()
