"""gRPC as the transport needs it: what a server has to speak, and the wires of its connections."""

from __future__ import annotations

from trtbench.client.http2.calls import Metadata
from trtbench.client.http2.wire_connection import WireConnection
from trtbench.client.wire import Spoken, WireKind

GRPC = Spoken(
    protocol="http2",
    version="HTTP/2",
    service="gRPC",
    alpn="h2",
    alpn_required=True,
    port="give the gRPC port in --url (8001 by default; 8000 is HTTP: --endpoint-type generate; 8002 metrics)",
    default_port="correct --url (Triton's gRPC port is 8001 by default)",
    with_tls="add --tls or grpcs:// (client.tls), with --tls-ca for certificates of a private authority",
    without_tls="leave out --tls and grpcs:// (client.tls)",
)


def grpc_wires(max_message_bytes: int, metadata: Metadata = ()) -> WireKind:
    """gRPC over HTTP/2, for a Connector. A message longer than `max_message_bytes` ends its stream.

    `metadata` are further headers of every call, with names in lower case.
    """

    def open_wire(authority: str, scheme: str) -> WireConnection:
        return WireConnection(authority, scheme, max_message_bytes, metadata)

    return WireKind(GRPC, pings=True, open=open_wire)
