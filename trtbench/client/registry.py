"""CLIENTS: the kinds of clients by name, and the passage of a target to a load worker, which opens the client that belongs to it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import TypeAdapter

from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.kserve.target import KserveTarget
from trtbench.client.kserve.wire_client import open_client
from trtbench.client.openai.endpoint_inspection import inspect_endpoint
from trtbench.client.openai.endpoints import ENDPOINTS
from trtbench.client.openai.http_client import open_http_client, open_http_files
from trtbench.client.openai.http_questions import http_address
from trtbench.client.openai.target import OpenaiTarget
from trtbench.client.protocol import Client, ClientKind, Target, TargetError
from trtbench.client.transport.address import grpc_address
from trtbench.client.transport.pool import open_files
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.workload.workload import Workload

CLIENTS: dict[str, ClientKind] = {
    KserveTarget.client: ClientKind(inspect_target, open_client, KserveTarget, open_files, ("kserve",), grpc_address, True),
    OpenaiTarget.client: ClientKind(inspect_endpoint, open_http_client, OpenaiTarget, open_http_files, tuple(ENDPOINTS), http_address),
}
TRITON_CLIENT = CLIENTS[KserveTarget.client]
"""The client of the servers that trtbench starts."""


def client_of_endpoint(endpoint: str) -> ClientKind:
    """The kind of client that sends requests to an endpoint of this name."""
    return next(kind for kind in CLIENTS.values() if endpoint in kind.endpoints)


def agreed(targets: Sequence[Target]) -> Target:
    """One target for the servers of all, which must be the same model taken and counted in the same way; TargetError if they are not."""
    first, *others = targets
    for other in others:
        if (other.takes_text, other.token_facts(), other.padded_to_tokens) != (
            first.takes_text,
            first.token_facts(),
            first.padded_to_tokens,
        ):
            raise TargetError(
                f"--url {first.url} and {other.url}: the two servers take requests of model {first.model!r} or count its tokens in "
                "different ways, so one run cannot measure both; measure each in a run of its own"
            )
    return first.with_servers([other.url for other in others]) if others else first


def client_to(target: Target, workload: Workload, settings: ClientSettings, end_id: int) -> Client:
    """A client that sends to `target`. `end_id` is the token that ends an output early, or NO_END_ID. It needs a running event loop.

    UserError if a file or a header of `settings` cannot be used.
    """
    return CLIENTS[target.client].open(target, workload, settings, end_id)


def target_to_json(target: Target) -> dict[str, Any]:
    row: dict[str, Any] = TypeAdapter(type(target)).dump_python(target, mode="json")
    return {"client": target.client} | row


def target_from_json(row: dict[str, Any]) -> Target:
    fields = {name: value for name, value in row.items() if name != "client"}
    kind: Any = CLIENTS[row["client"]].target
    target: Target = TypeAdapter(kind).validate_python(fields)
    return target
