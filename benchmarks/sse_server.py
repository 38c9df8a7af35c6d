"""A replay server of /v1/completions, in the form in which vLLM streams: each event with its token ids, in a chunk of its own.

    python benchmarks/sse_server.py [--first-us 20000] [--gap-us 20000]

It prints its port, and ends when its input does. A prompt of two ids is the schedule of its answer, as that of a calibration server: the
first event after so many us, each further one so many later, and a gap of 0 as fast as the socket takes them. Any other prompt gets the
schedule of the command line. The token ids of an event are its stamp (trtbench/self_test/stamp.py). GET /events is the number of events
sent so far.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from typing import Any

import uvloop

from trtbench.self_test.stamp import NUMBERS
from trtbench.system.clock import NS_PER_S, now_ns

HEAD = (
    b"HTTP/1.1 200 OK\r\ndate: Tue, 01 Dec 2026 10:00:00 GMT\r\nserver: uvicorn\r\n"
    b"content-type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
)
_PLAIN = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
_EVENT = (
    'data: {"id":"cmpl-0123456789abcdef0123456789abcdef","object":"text_completion","created":1796119200,"model":"m","choices":[{"index":0,'
    '"text":" word","logprobs":null,"finish_reason":%s,"stop_reason":null,"prompt_token_ids":null,"token_ids":[%d,%d,%d,%d]}],'
    '"usage":null}\n\n'
)
_USAGE = (
    'data: {"id":"cmpl-0123456789abcdef0123456789abcdef","object":"text_completion","created":1796119200,"model":"m","choices":[],'
    '"usage":{"prompt_tokens":2,"total_tokens":%d,"completion_tokens":%d}}\n\n'
)
_DONE = "data: [DONE]\n\n"
_LOW, _BITS = 2**31 - 1, 31
_US = 1000
MODELS = {"object": "list", "data": [{"id": "m", "object": "model", "owned_by": "replay", "max_model_len": 100_000}]}


def chunk(text: str) -> bytes:
    return b"%x\r\n%s\r\n" % (len(text), text.encode())


def event(index: int, last: bool, late_ns: int, sent_ns: int) -> bytes:
    reason = '"length"' if last else "null"
    return chunk(_EVENT % (reason, index, min(late_ns // _US, _LOW), sent_ns >> _BITS, sent_ns & _LOW))


class Server:
    """What all connections share."""

    def __init__(self, first_us: int, gap_us: int) -> None:
        self.first_us, self.gap_us = first_us, gap_us
        self.events = 0


class Connection(asyncio.Protocol):
    """One request at a time; the next may come when its answer has ended."""

    def __init__(self, server: Server) -> None:
        self._server, self._received = server, b""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport, self._loop = transport, asyncio.get_running_loop()

    def connection_lost(self, error: Exception | None) -> None:
        if self._timer:
            self._timer.cancel()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, separator, body = self._received.partition(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        length = int(fields.get(b"content-length", 0))
        if separator and len(body) >= length:
            self._received = body[length:]
            self._answer(head.split(b" ", 2)[1], body[:length])

    def _answer(self, path: bytes, body: bytes) -> None:
        if path != b"/v1/completions":
            found = json.dumps(self._server.events if path == b"/events" else MODELS).encode()
            self._transport.write(
                b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s" % (len(found), found)
            )
            return
        asked = json.loads(body)
        prompt, self._tokens = asked["prompt"], asked.get("max_tokens") or 16
        timed = isinstance(prompt, list) and len(prompt) == 2 and isinstance(prompt[0], int)
        first_us, gap_us = prompt if timed else (self._server.first_us, self._server.gap_us)
        self._due_ns, self._gap_ns, self._index = now_ns() + first_us * _US, gap_us * _US, 0
        self._transport.write(HEAD)
        if self._gap_ns:
            self._wait()
        else:
            sent_ns = now_ns()
            self._write(b"".join(event(index, index == self._tokens - 1, 0, sent_ns) for index in range(self._tokens)), self._tokens)
            self._end()

    def _wait(self) -> None:
        self._timer = self._loop.call_later(max(self._due_ns - now_ns(), 0) / NS_PER_S, self._send_next)

    def _send_next(self) -> None:
        sent_ns = now_ns()
        last = self._index == self._tokens - 1
        self._write(event(self._index, last, max(sent_ns - self._due_ns, 0), sent_ns), 1)
        self._index += 1
        self._due_ns += self._gap_ns
        if last:
            self._timer = self._loop.call_later(self._gap_ns / NS_PER_S, self._end)  # so that the last event too is read alone
        else:
            self._wait()

    def _end(self) -> None:
        self._transport.write(chunk(_USAGE % (2 + self._tokens * NUMBERS, self._tokens * NUMBERS)) + chunk(_DONE) + b"0\r\n\r\n")

    def _write(self, data: bytes, events: int) -> None:
        self._transport.write(data)
        self._server.events += events


async def serve(server: Server) -> None:
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    listener = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0, backlog=1024)
    print(listener.sockets[0].getsockname()[1], flush=True)
    loop.add_reader(sys.stdin, ended.set)
    await ended.wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first-us", type=int, default=20_000)
    parser.add_argument("--gap-us", type=int, default=20_000)
    arguments = parser.parse_args()
    uvloop.run(serve(Server(arguments.first_us, arguments.gap_us)))
