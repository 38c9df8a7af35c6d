"""How the load generator speaks to the server."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from trtbench.scenario.bounds import Count, Option, Retries, Seconds, SecondsOrNone, UserCount, Workers
from trtbench.scenario.headers import Headers, check_headers
from trtbench.scenario.part import Part


class Tls(Part):
    """Encrypted connections. Files are PEM."""

    ca: Path | None = Field(None, description="Certificates to trust; default: the system's.")
    certificate: Path | None = Field(None, description="The client's own certificate, where the server asks for one (mutual TLS).")
    key: Path | None = Field(None, description="Private key of `certificate`.")
    server_name: str | None = Field(None, description="Name that the server's certificate must bear; default: the host of the URL.")

    @model_validator(mode="after")
    def _pair(self) -> Tls:
        if (self.certificate is None) != (self.key is None):
            raise ValueError("certificate and key go together: give both for mutual TLS, or neither")
        return self


class ClientSettings(Part):
    transport: Literal["wire", "grpc"] = Field(
        "wire",
        description="wire: trtbench's own HTTP/2, the lightest, with kernel stamps; grpc: grpc.aio, with compression and channel options.",
    )
    workers: Workers | None = Field(None, description="Processes that send the load; default: what it needs, by measurement.")
    streams_per_connection: UserCount | None = Field(
        None,
        description="Streams that share a connection; default: 1, whose stamps are exact, 8 beyond 4,000 streams a worker.",
    )
    requests_per_stream: Count | None = Field(
        None,
        description="Requests that one stream serves, 1: a stream each; default: as many as proxies allow (1 MB of requests, 15 s).",
    )
    kernel_stamps: bool = Field(True, description="Stamp arrivals in the kernel; false: in user space only, which costs less.")
    keepalive_s: Seconds = Field(20.0, description="Silence of a connection with requests in flight before a PING asks whether it lives.")
    retries: Retries = Field(0, description="Further attempts of a request that failed before its first token; each is counted.")
    retry_delay_s: SecondsOrNone = Field(0.1, description="Pause before such an attempt.")
    tls: Tls | None = Field(None, description="Encrypt the connections; null: plain.")
    headers: Headers = Field(
        {},
        description="gRPC metadata by name, sent with every call: a text, or {env: NAME} for a secret, which no file of the run holds.",
    )
    compression: Literal["none", "gzip", "deflate"] = Field("none", description="Of messages; transport grpc only.")
    channel_options: dict[str, Option | str] = Field({}, description="gRPC channel arguments by name; transport grpc only.")

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: Headers) -> Headers:
        return check_headers(headers)

    @model_validator(mode="after")
    def _only_grpc(self) -> ClientSettings:
        for key in ("compression", "channel_options"):
            if self.transport == "wire" and getattr(self, key) not in ("none", {}):
                raise ValueError(f"{key} needs transport grpc, transport is wire: set transport: grpc, or leave {key} out")
        return self
