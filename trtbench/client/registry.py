"""CLIENTS: the kinds of clients by name, and the passage of a target to a load worker, which opens the client that belongs to it."""

from __future__ import annotations

from typing import Any

from pydantic import TypeAdapter

from trtbench.client.kserve.inspection import inspect_target
from trtbench.client.kserve.target import KserveTarget
from trtbench.client.kserve.wire_client import open_client
from trtbench.client.protocol import Client, ClientKind, Target
from trtbench.client.transport.pool import open_files
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.workload.workload import Workload

CLIENTS: dict[str, ClientKind] = {
    KserveTarget.client: ClientKind(inspect_target, open_client, KserveTarget, open_files),
}
TRITON_CLIENT = CLIENTS[KserveTarget.client]
"""The client of the servers that trtbench starts, and of those that `trtbench bench` measures."""


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
