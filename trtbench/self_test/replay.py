"""A replay server: answers like the calibration model in Triton, at rates that Triton cannot give.

    python -m trtbench.self_test.replay

It prints its port on loopback, and ends when its standard input does. One thread, one epoll; responses leave in one write each,
stamped right before it; those without a gap between them as many in a write as the socket takes.
"""

from __future__ import annotations

import contextlib
import gc
import heapq
import itertools
import resource
import select
import socket
import sys

from trtbench.load.deadline_timer import AbsoluteTimer
from trtbench.self_test.answer import STREAM_INFER, Answer, RequestError, answers, error_response
from trtbench.self_test.http2 import (
    GRPC_PREFIX_BYTES,
    HalfClosed,
    ProtocolError,
    Request,
    ServerConnection,
    WindowsGrew,
    message_frame,
    response_headers,
    trailers,
)
from trtbench.system.clock import now_ns

_READ_BYTES = 1 << 18
_BACKLOG = 4096
_OK, _UNIMPLEMENTED = 0, 12  # gRPC statuses


class Link:
    """One client's connection; `held` is what waits for the socket or for the client's flow control."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.connection = ServerConnection()
        self.unsent = bytearray()
        self.held: list[Answer] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """As much as the socket takes now, the rest goes to `unsent`."""
        if self.unsent:
            self.unsent += data
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        if sent < len(data):
            self.unsent += data[sent:]


class ReplayServer:
    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._epoll = select.epoll()
        self._timer = AbsoluteTimer()
        self._links: dict[int, Link] = {}
        self._due: list[tuple[int, int, Link, Answer]] = []  # heap by instant, then by turn
        self._turns = itertools.count()
        self._replies = answers()
        for source in (listener, self._timer):
            self._epoll.register(source.fileno(), select.EPOLLIN)

    def run(self, until_fd: int) -> None:
        """Serve until `until_fd` has reached its end."""
        self._epoll.register(until_fd, select.EPOLLIN)
        while True:
            for fd, events in self._epoll.poll(0 if self._due and self._due[0][0] <= now_ns() else -1):
                if fd == until_fd:
                    return
                if fd == self._listener.fileno():
                    self._accept()
                elif link := self._links.get(fd):
                    self._serve(link, events)
            self._send_due()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = self._listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._links[sock.fileno()] = Link(sock)
                self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _serve(self, link: Link, events: int) -> None:
        try:
            if events & select.EPOLLOUT:
                self._flush(link)
            if events & ~select.EPOLLOUT:
                self._read(link)
        except (ProtocolError, OSError):
            self._drop(link)

    def _drop(self, link: Link) -> None:
        """Its answers find no stream any more."""
        link.connection.streams.clear()
        link.held.clear()
        self._links.pop(link.sock.fileno(), None)
        link.sock.close()

    def _read(self, link: Link) -> None:
        data = link.sock.recv(_READ_BYTES)
        if not data:
            self._drop(link)
            return
        arrival_ns = now_ns()
        for event in link.connection.receive(data):
            if isinstance(event, Request):
                self._ask(link, event, arrival_ns)
            elif isinstance(event, HalfClosed):
                self._end_if_done(link, event.stream_id)
            elif isinstance(event, WindowsGrew):
                self._release(link)
        self._write_control(link)

    def _ask(self, link: Link, request: Request, arrival_ns: int) -> None:
        connection, stream_id = link.connection, request.stream_id
        stream = connection.streams[stream_id]
        if not stream.answered:
            stream.answered = True
            connection.control += response_headers(stream_id)
        if stream.path != STREAM_INFER:
            self._reply(link, stream_id, self._replies.get(stream.path))
            return
        try:
            answer = Answer(stream_id, request.message, arrival_ns)
        except RequestError as error:
            self._reply(link, stream_id, error_response(str(error)))
            return
        stream.requests_open += 1
        self._schedule(link, answer)

    def _reply(self, link: Link, stream_id: int, message: bytes | None) -> None:
        """One message at once; None is a method that there is not."""
        connection = link.connection
        if message is None:
            connection.control += trailers(stream_id, _UNIMPLEMENTED)
            del connection.streams[stream_id]
        else:
            connection.take_window(stream_id, GRPC_PREFIX_BYTES + len(message))  # smaller than any client's first window
            connection.control += message_frame(stream_id, message)

    def _schedule(self, link: Link, answer: Answer) -> None:
        heapq.heappush(self._due, (answer.due_ns, next(self._turns), link, answer))

    def _send_due(self) -> None:
        now = now_ns()
        due = []
        while self._due and self._due[0][0] <= now:
            due.append(heapq.heappop(self._due)[2:])
        for link, answer in due:  # what becomes due meanwhile waits for its next turn: no stream keeps the others from theirs
            try:
                self._send(link, answer)
            except OSError:
                self._drop(link)
        self._timer.set(self._due[0][0] if self._due else 0)

    def _send(self, link: Link, answer: Answer) -> None:
        stream = link.connection.streams.get(answer.stream_id)
        if stream is None:
            return
        if link.unsent or not link.connection.take_window(answer.stream_id, answer.window_bytes):
            link.held.append(answer)
            return
        self._write(link, answer.write(now_ns()))
        if not answer.is_over:
            self._schedule(link, answer)
            return
        stream.requests_open -= 1
        self._end_if_done(link, answer.stream_id)
        self._write_control(link)

    def _end_if_done(self, link: Link, stream_id: int) -> None:
        stream = link.connection.streams[stream_id]
        if stream.half_closed and not stream.requests_open:
            link.connection.control += trailers(stream_id, _OK)
            del link.connection.streams[stream_id]

    def _release(self, link: Link) -> None:
        held, link.held = link.held, []
        for answer in held:
            self._schedule(link, answer)

    def _write_control(self, link: Link) -> None:
        if link.connection.control:
            self._write(link, bytes(link.connection.control))
            link.connection.control.clear()

    def _write(self, link: Link, data: bytes | bytearray | memoryview) -> None:
        had_unsent = bool(link.unsent)
        link.write(data)
        if link.unsent and not had_unsent:
            self._epoll.modify(link.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _flush(self, link: Link) -> None:
        unsent, link.unsent = link.unsent, bytearray()
        link.write(unsent)
        if not link.unsent:
            self._epoll.modify(link.sock.fileno(), select.EPOLLIN)
            self._release(link)


def main() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a file descriptor a connection
    with socket.create_server(("127.0.0.1", 0), backlog=_BACKLOG) as listener, contextlib.suppress(KeyboardInterrupt):
        listener.setblocking(False)
        server = ReplayServer(listener)
        gc.freeze()
        gc.disable()  # a collection would be lateness of the server
        print(listener.getsockname()[1], flush=True)
        server.run(sys.stdin.fileno())


if __name__ == "__main__":
    main()
