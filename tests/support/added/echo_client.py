"""A client that trtbench does not have: it sends to nobody, and answers each request with its own prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from trtbench.client.protocol import ClientKind, Limits
from trtbench.plan.plan import PlannedPrompt
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.workload.workload import Workload
from trtbench.system.clock import now_ns


@dataclass(frozen=True)
class EchoTarget:
    client: ClassVar[str] = "echo"
    url: str
    model: str
    takes_text: bool = False
    counts_tokens: bool = True
    returns_ids: bool = True
    padded_to_tokens: int | None = None
    metrics_model: str | None = None
    statistics_address: str | None = None
    metrics_url: str | None = None

    def server_facts(self) -> Mapping[str, Any]:
        return {}

    def token_facts(self) -> dict[str, Any]:
        return {}

    def notes(self) -> list[str]:
        return []

    def with_servers(self, others: Sequence[str]) -> EchoTarget:
        return self

    def padded(self, longest_tokens: int) -> tuple[EchoTarget, str]:
        return self, ""


class EchoClient:
    def encode_request(self, prompt: PlannedPrompt, context: Sequence[int] = ()) -> bytes:
        return bytes([*context, *prompt.input_ids])

    async def open_streams(self, streams: int) -> None: ...

    async def send_request(self, record: RequestRecord, body: bytes, limits: Limits) -> None:
        record.sent_ns = now_ns()
        record.token_ns, record.token_counts = [now_ns()], [len(body)]
        record.output_ids = list(body)
        record.outcome, record.done_ns = Outcome.COMPLETED, now_ns()

    def renew_streams(self) -> None: ...

    def transport_facts(self) -> dict[str, Any]:
        return {"transport": EchoTarget.client}

    async def close(self) -> None: ...


def _open(target: EchoTarget, workload: Workload, settings: ClientSettings, end_id: int) -> EchoClient:
    return EchoClient()


def _inspect(url: str, model: str, *_: Any) -> EchoTarget:
    return EchoTarget(url, model)


ECHO = ClientKind(_inspect, _open, EchoTarget, lambda settings, streams: 0)
