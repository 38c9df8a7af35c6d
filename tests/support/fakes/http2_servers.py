"""The other side of a WireConnection, in memory: one by h2, an independent implementation, and one that writes frames by hand."""

from __future__ import annotations

import struct
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.settings
from hpack import Encoder

from trtbench.client.http2 import frames
from trtbench.client.http2.frames import frame
from trtbench.client.http2.wire_connection import Event, WireConnection

PATH = "/inference.GRPCInferenceService/ModelStreamInfer"
RESPONSE = [(":status", "200"), ("content-type", "application/grpc")]
OK = [("grpc-status", "0"), ("grpc-message", "")]


def prefixed(message: bytes, compressed: int = 0) -> bytes:
    return struct.pack(">BI", compressed, len(message)) + message


class H2Server:
    """A server of h2 in memory, wired to one WireConnection."""

    def __init__(self, client: WireConnection | None = None, **initial: int) -> None:
        self.client = client or WireConnection("host:8001")
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        self.h2.local_settings = h2.settings.Settings(
            client=False, initial_values={getattr(h2.settings.SettingCodes, k): v for k, v in initial.items()}
        )
        self.h2.initiate_connection()
        self.received: list[Any] = []
        self.bodies: dict[int, bytes] = {}
        self.acknowledges = True  # opens its windows as soon as it has read

    def pump(self) -> list[Event]:
        """Carry bytes both ways until none is left; the client's events."""
        events: list[Event] = []
        while True:
            to_server = self.client.take_output()
            for event in self.h2.receive_data(to_server) if to_server else []:
                self.received.append(event)
                if isinstance(event, h2.events.DataReceived):
                    self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                    if self.acknowledges and event.flow_controlled_length:
                        self.acknowledge(event.stream_id, event.flow_controlled_length)
            to_client = self.h2.data_to_send()
            if not to_client and not to_server:
                return events
            events += self.client.receive(to_client)

    def acknowledge(self, stream_id: int, size: int) -> None:
        self.h2.acknowledge_received_data(size, stream_id)

    def respond(self, stream_id: int, *messages: bytes) -> None:
        """Response headers and messages, each in a frame of its own."""
        self.h2.send_headers(stream_id, RESPONSE)
        for message in messages:
            self.h2.send_data(stream_id, prefixed(message))

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.received if isinstance(event, kind)]


class RawServer:
    """Writes frames by hand, right or wrong, to a client with `streams` calls open and their response headers received."""

    def __init__(self, streams: int = 1, **client: int) -> None:
        self.client = WireConnection("host:8001", **client)
        self.encoder = Encoder()
        self.ids = [self.client.open_stream(PATH) for _ in range(streams)]
        self.client.receive(frames.settings({}))
        for stream_id in self.ids:
            assert self.client.receive(self.headers(stream_id, RESPONSE)) == []
        self.client.take_output()

    def headers(self, stream_id: int, headers: list[tuple[str, str]], flags: int = 0) -> bytes:
        return frame(frames.HEADERS, stream_id, self.encoder.encode(headers), frames.END_HEADERS | flags)

    def trailers(self, stream_id: int, headers: list[tuple[str, str]]) -> bytes:
        return self.headers(stream_id, headers, frames.END_STREAM)

    def sent(self) -> list[tuple[int, int, bytes]]:
        """What the client put out: (kind, stream id, payload)."""
        output, pos, found = self.client.take_output(), 0, []
        while pos < len(output):
            word, _, stream_id = frames.HEADER.unpack_from(output, pos)
            end = pos + frames.HEADER_BYTES + (word >> 8)
            found.append((word & 0xFF, stream_id, output[pos + frames.HEADER_BYTES : end]))
            pos = end
        return found
