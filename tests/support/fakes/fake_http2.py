"""A fake server that follows a script: real HTTP/2 by the library h2, faults where the script says so.

Each connection runs the script in a thread of its own; what it says is sent at once.
"""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
from tritonclient.grpc import service_pb2

PATIENCE_S = 10.0


class PeerGone(Exception):
    """The client closed the connection."""


class Peer:
    """The server's end of one connection. `number` counts connections from 0."""

    def __init__(self, connection: socket.socket, number: int) -> None:
        self.socket, self.number = connection, number
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.events: list[Any] = []
        self.last_request: Any = None
        self._requests: deque[tuple[int, Any]] = deque()
        self._parts: dict[int, bytes] = {}
        self._answered: set[int] = set()
        self._unacknowledged = 0

    def begin(self, settings: dict[int, int] | None = None) -> None:
        """Say our settings."""
        if settings:
            self.h2.local_settings = h2.settings.Settings(client=False, initial_values=settings)
        self.h2.initiate_connection()
        self.flush()

    def flush(self) -> None:
        self.socket.sendall(self.h2.data_to_send())

    def raw(self, data: bytes) -> None:
        self.socket.sendall(data)

    def request(self) -> int:
        """Wait for the next request; its stream."""
        while not self._requests:
            self.read()
        stream_id, self.last_request = self._requests.popleft()
        return stream_id

    def opened(self) -> list[int]:
        """Streams that the client has opened."""
        return [event.stream_id for event in self.events if isinstance(event, h2.events.RequestReceived)]

    def forget(self, stream_id: int) -> None:
        """Its answer went out past h2, which is to know that it is over."""
        with suppress(h2.exceptions.ProtocolError):
            self.h2.reset_stream(stream_id)
            self.h2.data_to_send()

    def wait_reset(self, stream_id: int) -> None:
        """Until the client has reset a stream."""
        while not any(isinstance(event, h2.events.StreamReset) and event.stream_id == stream_id for event in self.events):
            self.read()

    def wait_gone(self) -> None:
        with suppress(PeerGone, OSError):
            while True:
                self.read()

    def wait_quiet(self) -> None:
        """A moment for the client to read what was sent: a TCP reset would take it away."""
        self.socket.settimeout(0.2)
        with suppress(TimeoutError):
            while True:
                self.read()

    def read(self, acknowledge: bool = True) -> None:
        """`acknowledge`: open the windows again by what came; else `acknowledge` opens the connection's."""
        data = self.socket.recv(65536)
        if not data:
            raise PeerGone
        for event in self.h2.receive_data(data):
            self.events.append(event)
            if isinstance(event, h2.events.DataReceived):
                if acknowledge:
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                else:
                    self._unacknowledged += event.flow_controlled_length
                self._collect(event.stream_id, event.data)
        self.flush()

    def acknowledge(self) -> None:
        if self._unacknowledged:
            self.h2.increment_flow_control_window(self._unacknowledged)
            self._unacknowledged = 0
            self.flush()

    def _collect(self, stream_id: int, data: bytes) -> None:
        part = self._parts.pop(stream_id, b"") + data
        while len(part) >= 5 and len(part) >= 5 + (size := struct.unpack(">I", part[1:5])[0]):
            self._requests.append((stream_id, service_pb2.ModelInferRequest.FromString(part[5 : 5 + size])))
            part = part[5 + size :]
        self._parts[stream_id] = part

    def answer(self, stream_id: int, tokens: int, first: int = 100, final: bool = False) -> None:
        """Token messages, each sent by itself; then the final response."""
        self.headers(stream_id)
        for token in range(first, first + tokens):
            self.message(stream_id, token_message(token))
        if final:
            self.message(stream_id, final_message())

    def headers(self, stream_id: int) -> None:
        """Once a stream, however often it is called."""
        if stream_id not in self._answered:
            self._answered.add(stream_id)
            self.h2.send_headers(stream_id, [(":status", "200"), ("content-type", "application/grpc")])
            self.flush()

    def message(self, stream_id: int, message: bytes) -> None:
        self.h2.send_data(stream_id, framed(message))
        self.flush()

    def trailers(self, stream_id: int, status: int, message: str = "", only: bool = False) -> None:
        """`message` goes out as it is: percent-encode it first. `only`: no headers came before."""
        fields = [("grpc-status", str(status)), ("grpc-message", message)]
        if only:
            fields = [(":status", "200"), ("content-type", "application/grpc"), *fields]
        self.h2.send_headers(stream_id, fields, end_stream=True)
        self.flush()

    def reset(self, stream_id: int, code: int) -> None:
        self.h2.reset_stream(stream_id, code)
        self.flush()

    def goaway(self, last_stream_id: int, code: int = 0, debug: bytes = b"") -> None:
        """As a frame of our own: h2 would take nothing further."""
        payload = struct.pack(">II", last_stream_id, code) + debug
        self.raw(struct.pack(">I", len(payload))[1:] + b"\x07\x00" + bytes(4) + payload)

    def reset_connection(self) -> None:
        """TCP RST."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def framed(message: bytes) -> bytes:
    return b"\x00" + struct.pack(">I", len(message)) + message


def token_message(*tokens: int) -> bytes:
    answer = service_pb2.ModelStreamInferResponse()
    infer = answer.infer_response
    infer.model_name, infer.model_version = "tensorrt_llm", "1"
    infer.parameters["triton_final_response"].bool_param = False
    for name, values in (("output_ids", tokens), ("sequence_length", (len(tokens),))):
        infer.outputs.add(name=name, datatype="INT32", shape=[1, 1, len(values)])
        infer.raw_output_contents.append(struct.pack(f"<{len(values)}i", *values))
    return bytes(answer.SerializeToString())


def final_message() -> bytes:
    answer = service_pb2.ModelStreamInferResponse()
    answer.infer_response.model_version = "1"
    answer.infer_response.parameters["triton_final_response"].bool_param = True
    return bytes(answer.SerializeToString())


class FakeHttp2:
    """Listens on loopback from the start; `connections` counts those accepted."""

    def __init__(self, script: Callable[[Peer], None], tls: ssl.SSLContext | None = None) -> None:
        self.connections = 0
        self._script, self._tls = script, tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self._sockets: list[socket.socket] = []
        self.url = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.faults: list[BaseException] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self.stop_listening()
        for connection in self._sockets:
            connection.close()

    def stop_listening(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(PATIENCE_S)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._sockets.append(connection)
                threading.Thread(target=self._serve, args=(connection, self.connections), daemon=True).start()
                self.connections += 1

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            if self._tls:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._sockets.append(connection)
            self._script(Peer(connection, number))
        except (PeerGone, OSError, h2.exceptions.ProtocolError):  # the last: no HTTP/2 client
            pass
        except BaseException as fault:  # a bug of the script: the test must see it
            self.faults.append(fault)
        finally:
            connection.close()


@contextmanager
def serving(script: Callable[[Peer], None], tls: ssl.SSLContext | None = None) -> Iterator[FakeHttp2]:
    server = FakeHttp2(script, tls)
    try:
        yield server
    finally:
        server.close()
    assert server.faults == []
