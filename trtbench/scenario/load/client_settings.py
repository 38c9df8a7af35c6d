"""Settings of the load generator's connections and processes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, WithJsonSchema, field_validator, model_validator

from trtbench.scenario.load.headers import Headers, check_headers
from trtbench.scenario.parts.bounds import Count, PauseMs, Retries, Seconds, SecondsOrNone, UserCount, Workers, is_of_a_run
from trtbench.scenario.parts.part import Part

_OF_OLDER_RUNS = {
    "transport": "wire is the only transport, trtbench's own HTTP/2 (grpc, over grpc.aio, was removed): leave it out, or give wire",
    "compression": "messages are sent uncompressed (transport grpc, which compressed them, was removed): leave it out",
    "channel_options": "these belonged to transport grpc, which was removed: leave them out",
}
"""Keys of which only the default is left: what to say of other values."""


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
    transport: Annotated[str, WithJsonSchema({"enum": ["wire"], "type": "string"})] = Field(
        "wire", description="wire, trtbench's own HTTP/2 client, is the only transport: leave it out."
    )
    workers: Workers | None = Field(None, description="Number of processes that send the load; null: as many as it needs, by measurement.")
    streams_per_connection: UserCount | None = Field(
        None,
        description="Streams that share a connection; default: 1, whose stamps are exact, 8 beyond 4,000 streams a worker.",
    )
    requests_per_stream: Count | None = Field(
        None,
        description="Requests that one stream serves, 1: a stream each; default: as many as proxies allow (1 MB of requests, 15 s).",
    )
    kernel_stamps: bool = Field(True, description="Stamp arrivals in the kernel; false: in user space only, and without pauses in reading.")
    read_pause_ms: PauseMs | Literal["auto"] = Field(
        "auto",
        description="Longest pause before reads in the middle of answers, which are then read together; auto: as long as the gaps between "
        "tokens allow, at most 8; 0: every read at once. Only with kernel stamps.",
    )
    keepalive_s: Seconds = Field(
        20.0, description="Seconds without data on a connection with requests in flight after which the client sends a PING."
    )
    retries: Retries = Field(0, description="Further attempts of a request that failed before its first token; each is counted.")
    retry_delay_s: SecondsOrNone = Field(0.1, description="Pause before a further attempt, in seconds.")
    tls: Tls | None = Field(None, description="Encrypt the connections; null: plain.")
    headers: Headers = Field(
        {},
        description="gRPC metadata by name, sent with every call: a text, or {env: NAME} for a secret, which no file of the run holds.",
    )
    compression: Annotated[str, WithJsonSchema({"enum": ["none"], "type": "string"})] = Field(
        "none", description="Messages are sent uncompressed: leave it out."
    )
    channel_options: Annotated[dict[str, Any], WithJsonSchema({"maxProperties": 0, "type": "object"})] = Field(
        {}, description="There are none: leave it out."
    )

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: Headers) -> Headers:
        return check_headers(headers)

    @field_validator(*_OF_OLDER_RUNS)
    @classmethod
    def _only_wire(cls, value: object, info: ValidationInfo) -> object:
        """Refuse other values than the default in a new scenario. Runs that were recorded over grpc.aio are still read."""
        if value != cls.model_fields[str(info.field_name)].default and not is_of_a_run(info):
            raise ValueError(_OF_OLDER_RUNS[str(info.field_name)])
        return value
