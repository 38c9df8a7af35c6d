"""A gRPC channel to the server, as the scenario's client settings want it."""

from __future__ import annotations

from typing import Any

import grpc
import grpc.aio

from trtbench.load.frames import MAX_HEADER_BLOCK_BYTES
from trtbench.load.tls import channel_credentials
from trtbench.scenario import ClientSettings

_OPTIONS: dict[str, int | str] = {
    "grpc.max_send_message_length": -1,
    "grpc.max_metadata_size": MAX_HEADER_BLOCK_BYTES,  # a status text may be a stack trace; from 8 KiB on gRPC drops it by chance
    "grpc.use_local_subchannel_pool": 1,  # a connection of its own for every channel
    "grpc.enable_retries": 0,  # a hidden second attempt would be measured as one slow request
    "grpc.enable_http_proxy": 0,  # a proxy of the environment is not what is under load
}
_MOST_BYTES = 1 << 26
_COMPRESSION = {"none": None, "gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}


def open_channel(url: str, settings: ClientSettings, asynchronous: bool, most_bytes: int = _MOST_BYTES) -> Any:
    """A grpc.aio.Channel where `asynchronous`, else a grpc.Channel. UserError when a file of `settings.tls` cannot be read.

    `most_bytes` of one answer.
    """
    library: Any = grpc.aio if asynchronous else grpc
    options = _OPTIONS | {"grpc.max_receive_message_length": most_bytes} | settings.channel_options
    compression = _COMPRESSION[settings.compression]
    if settings.tls is None:
        return library.insecure_channel(url, options=tuple(options.items()), compression=compression)
    if settings.tls.server_name:
        options["grpc.ssl_target_name_override"] = settings.tls.server_name
    return library.secure_channel(url, channel_credentials(settings.tls), options=tuple(options.items()), compression=compression)
