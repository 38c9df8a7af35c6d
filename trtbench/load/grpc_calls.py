"""Calls of grpc.aio: the one answer of a unary one, and how calls end."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import grpc
import grpc.aio

from trtbench.clock import now_ns
from trtbench.load.embedding import take_answer
from trtbench.load.encoder_tensors import EncoderTensors
from trtbench.records import RequestRecord


async def ended(call: Any) -> None:
    """Say that no message follows, and read to the end."""
    with suppress(grpc.aio.AioRpcError, grpc.aio.InternalError, asyncio.InvalidStateError):
        await call.done_writing()
        while await call.read() is not grpc.aio.EOF:
            pass


async def ask(call: Any, record: RequestRecord, tensors: EncoderTensors) -> tuple[str, str]:
    """Wait for the one answer; the status of a call that failed: (name of the code, details)."""
    try:
        received = await call
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details() or ""
    arrived_ns = now_ns()
    take_answer(record, received, tensors, arrived_ns)
    return "OK", ""


async def ended_by_server(call: Any) -> bool:
    """grpc.aio raises CancelledError for a CANCELLED status of the server too."""
    return call.done() and "Locally cancelled" not in (await call.details() or "")
