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
from trtbench.system.absolute_timer import AbsoluteTimer
from trtbench.system.clock import now_ns

_READ_BYTES = 1 << 18
_BACKLOG = 4096
_OK, _UNIMPLEMENTED = 0, 12  # gRPC statuses


class ClientConnection:
    """One client's connection; `held` is what waits for the socket or for the client's flow control."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.connection = ServerConnection()
        self.unsent = bytearray()
        self.held: list[Answer] = []

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Writes as much as the socket accepts now; the rest goes to `unsent`."""
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
        self._clients: dict[int, ClientConnection] = {}
        self._due: list[tuple[int, int, ClientConnection, Answer]] = []  # heap by instant, then by turn
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
                elif client := self._clients.get(fd):
                    self._serve(client, events)
            self._send_due()

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                sock, _ = self._listener.accept()
                sock.setblocking(False)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._clients[sock.fileno()] = ClientConnection(sock)
                self._epoll.register(sock.fileno(), select.EPOLLIN)

    def _serve(self, client: ClientConnection, events: int) -> None:
        try:
            if events & select.EPOLLOUT:
                self._flush(client)
            if events & ~select.EPOLLOUT:
                self._read(client)
        except (ProtocolError, OSError):
            self._drop(client)

    def _drop(self, client: ClientConnection) -> None:
        """Closes a client's connection. Answers that are still due to its streams are dropped."""
        client.connection.streams.clear()
        client.held.clear()
        self._clients.pop(client.sock.fileno(), None)
        client.sock.close()

    def _read(self, client: ClientConnection) -> None:
        data = client.sock.recv(_READ_BYTES)
        if not data:
            self._drop(client)
            return
        arrival_ns = now_ns()
        for event in client.connection.receive(data):
            if isinstance(event, Request):
                self._ask(client, event, arrival_ns)
            elif isinstance(event, HalfClosed):
                self._end_if_done(client, event.stream_id)
            elif isinstance(event, WindowsGrew):
                self._release(client)
        self._write_control(client)

    def _ask(self, client: ClientConnection, request: Request, arrival_ns: int) -> None:
        connection, stream_id = client.connection, request.stream_id
        stream = connection.streams[stream_id]
        if not stream.answered:
            stream.answered = True
            connection.control += response_headers(stream_id)
        if stream.path != STREAM_INFER:
            self._reply(client, stream_id, self._replies.get(stream.path))
            return
        try:
            answer = Answer(stream_id, request.message, arrival_ns)
        except RequestError as error:
            self._reply(client, stream_id, error_response(str(error)))
            return
        stream.requests_open += 1
        self._schedule(client, answer)

    def _reply(self, client: ClientConnection, stream_id: int, message: bytes | None) -> None:
        """One message at once; None is a method that there is not."""
        connection = client.connection
        if message is None:
            connection.control += trailers(stream_id, _UNIMPLEMENTED)
            del connection.streams[stream_id]
        else:
            connection.take_window(stream_id, GRPC_PREFIX_BYTES + len(message))  # smaller than any client's first window
            connection.control += message_frame(stream_id, message)

    def _schedule(self, client: ClientConnection, answer: Answer) -> None:
        heapq.heappush(self._due, (answer.due_ns, next(self._turns), client, answer))

    def _send_due(self) -> None:
        now = now_ns()
        due = []
        while self._due and self._due[0][0] <= now:
            due.append(heapq.heappop(self._due)[2:])
        for client, answer in due:  # what becomes due meanwhile waits for its next turn: no stream keeps the others from theirs
            try:
                self._send(client, answer)
            except OSError:
                self._drop(client)
        self._timer.set(self._due[0][0] if self._due else 0)

    def _send(self, client: ClientConnection, answer: Answer) -> None:
        stream = client.connection.streams.get(answer.stream_id)
        if stream is None:
            return
        if client.unsent or not client.connection.take_window(answer.stream_id, answer.window_bytes):
            client.held.append(answer)
            return
        self._write(client, answer.write(now_ns()))
        if not answer.is_over:
            self._schedule(client, answer)
            return
        stream.requests_open -= 1
        self._end_if_done(client, answer.stream_id)
        self._write_control(client)

    def _end_if_done(self, client: ClientConnection, stream_id: int) -> None:
        stream = client.connection.streams[stream_id]
        if stream.half_closed and not stream.requests_open:
            client.connection.control += trailers(stream_id, _OK)
            del client.connection.streams[stream_id]

    def _release(self, client: ClientConnection) -> None:
        held, client.held = client.held, []
        for answer in held:
            self._schedule(client, answer)

    def _write_control(self, client: ClientConnection) -> None:
        if client.connection.control:
            self._write(client, bytes(client.connection.control))
            client.connection.control.clear()

    def _write(self, client: ClientConnection, data: bytes | bytearray | memoryview) -> None:
        had_unsent = bool(client.unsent)
        client.write(data)
        if client.unsent and not had_unsent:
            self._epoll.modify(client.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _flush(self, client: ClientConnection) -> None:
        unsent, client.unsent = client.unsent, bytearray()
        client.write(unsent)
        if not client.unsent:
            self._epoll.modify(client.sock.fileno(), select.EPOLLIN)
            self._release(client)


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
