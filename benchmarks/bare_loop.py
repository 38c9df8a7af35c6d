"""The least that Python can do: epoll, recv, count. Below what a response costs it no client in Python comes that wakes for each."""

from __future__ import annotations

import multiprocessing
import select
import socket
import time

from trtbench.client.http2.wire_connection import WireConnection
from trtbench.client.kserve.messages import STREAM_INFER, decode_response, request_body, with_request_id
from trtbench.client.kserve.target import KserveTarget
from trtbench.client.protocol import NO_END_ID
from trtbench.scenario.workload.workload import Workload
from trtbench.self_test.trial import prompt

_BUFFER_BYTES = 1 << 16
_SETTLE_S = 1.0
_LEARNED = 4


def bare_cost_us(target: KserveTarget, streams: int, gap_us: int, responses: int, seconds: float) -> float:
    """CPU us of a process of its own for each response; each stream's next request of so many `responses` follows the one before."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_cost_us, (target, streams, gap_us, responses, seconds))


class _User:
    """Of one connection. It tells the end of a request by the bytes that have come, and parses none."""

    def __init__(self, target: KserveTarget, body: bytes) -> None:
        host, _, port = target.url.rpartition(":")
        self.socket, self.wire, self._body = socket.create_connection((host, int(port))), WireConnection(target.url), body
        self.request_bytes = self.left_bytes = 0

    def ask(self) -> None:
        self.left_bytes += self.request_bytes
        self.wire.send_message(self.wire.open_stream(STREAM_INFER), self._body, end_stream=True)
        self.socket.sendall(self.wire.take_output())

    def learn(self) -> None:
        """How many bytes a request brings, by some that are parsed: the least, since the server's pings come between."""
        self.request_bytes = min(self._bytes_of_one() for _ in range(_LEARNED))

    def _bytes_of_one(self) -> int:
        self.ask()
        size, ended = 0, False
        while not ended:
            data = self.socket.recv(_BUFFER_BYTES)
            size += len(data)
            events = self.wire.receive(data)
            ended = any(isinstance(event, tuple) and decode_response(event[1]).final for event in events)
        return size


def _cost_us(target: KserveTarget, streams: int, gap_us: int, responses: int, seconds: float) -> float:
    body = with_request_id(request_body(target, prompt(gap_us, gap_us, responses), Workload(), NO_END_ID), "0")
    poller, users = select.epoll(), [_User(target, body) for _ in range(streams)]
    for user in users:
        user.learn()
        poller.register(user.socket, select.EPOLLIN)
    for user in users:
        user.ask()
    _read_until(poller, users, time.monotonic() + _SETTLE_S)
    began = time.process_time()
    requests = _read_until(poller, users, time.monotonic() + seconds)
    used_s = time.process_time() - began
    return used_s / (requests * responses) * 1e6


def _read_until(poller: select.epoll, users: list[_User], end: float) -> int:
    """How many requests ended."""
    buffer, of = bytearray(_BUFFER_BYTES), {user.socket.fileno(): (user, user.socket.recv_into) for user in users}
    requests = 0
    while time.monotonic() < end:
        for fd, _ in poller.poll(0.1):
            user, receive = of[fd]
            user.left_bytes -= receive(buffer)
            if user.left_bytes <= 0:
                requests += 1
                user.ask()
    return requests
