"""Replicas: several Triton servers of one engine, and who spreads the requests over them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from trtbench.scenario.deployment.gpu import GpuName
from trtbench.scenario.parts.bounds import Servers
from trtbench.scenario.parts.part import Part

Balancer = Literal["client", "haproxy", "nginx"]


class Replicas(Part):
    """Horizontal scaling of a deployment. One server and balancer client, the default, is Triton as it is."""

    servers: Servers = Field(1, description="Triton processes, each with the whole engine and its own ports and KV cache.")
    balancer: Balancer = Field(
        "client",
        description="Who spreads the requests: the load generator deals them in turn; haproxy or nginx, found on PATH, stands before "
        "the servers, before a single one too.",
    )
    algorithm: Literal["round_robin", "least_connections"] = Field("round_robin", description="Of haproxy and nginx.")
    gpus: tuple[GpuName, ...] = Field(
        (),
        description="One server for each of these GPUs, which is all it sees (CUDA_VISIBLE_DEVICES): indices as nvidia-smi's, or UUIDs of "
        "GPUs or MIG instances; empty: every server sees all.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Replicas:
        if self.balancer == "client" and self.algorithm != "round_robin":
            raise ValueError(f"algorithm {self.algorithm}: the client deals in turn only; set balancer: haproxy or nginx, or leave it out")
        if len(set(self.gpus)) < len(self.gpus):
            raise ValueError(f"gpus {list(self.gpus)} names a GPU twice: give each server its own")
        if self.gpus and self.servers not in (1, len(self.gpus)):
            raise ValueError(f"servers is {self.servers}, gpus {list(self.gpus)} make {len(self.gpus)}: leave servers out")
        return self

    @property
    def count(self) -> int:
        """Servers, told by either key."""
        return len(self.gpus) or self.servers
