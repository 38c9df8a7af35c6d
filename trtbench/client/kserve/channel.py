"""A gRPC channel for the calls beside the load, as the scenario's client settings want it."""

from __future__ import annotations

import grpc

from trtbench.client.http2.frames import MAX_HEADER_BLOCK_BYTES
from trtbench.client.transport.tls import channel_credentials
from trtbench.scenario.load.client_settings import ClientSettings

_OPTIONS: dict[str, int | str] = {
    "grpc.max_send_message_length": -1,
    "grpc.max_metadata_size": MAX_HEADER_BLOCK_BYTES,  # a status text may be a stack trace; from 8 KiB on gRPC drops it by chance
    "grpc.use_local_subchannel_pool": 1,  # a connection of its own for every channel
    "grpc.enable_retries": 0,
    "grpc.enable_http_proxy": 0,  # a proxy of the environment is not what is under load
}


def open_channel(url: str, settings: ClientSettings, most_bytes: int) -> grpc.Channel:
    """A channel that takes answers of at most `most_bytes`. UserError when a file of `settings.tls` cannot be read."""
    options = _OPTIONS | {"grpc.max_receive_message_length": most_bytes}
    if settings.tls is None:
        return grpc.insecure_channel(url, options=tuple(options.items()))
    if settings.tls.server_name:
        options["grpc.ssl_target_name_override"] = settings.tls.server_name
    return grpc.secure_channel(url, channel_credentials(settings.tls), options=tuple(options.items()))
