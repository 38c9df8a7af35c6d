"""What every client has in common: the model that it sends to (Target), what it does (Client), and when a request is given up (Limits).

The load, the run and the self-test know only these and the registry; a client's own folder has everything else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol, runtime_checkable

from trtbench.errors import UserError
from trtbench.plan.plan import PlannedPrompt
from trtbench.plan.sources.tensors.tensor import ModelTensors
from trtbench.rundir.deployment_facts import DeploymentFile, ServedClass
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.scenario.load.client_settings import ClientSettings
from trtbench.scenario.workload.workload import Workload
from trtbench.system.clock import NS_PER_S

NO_END_ID = -1
"""The end id of requests whose output always has the requested length: no token has this id."""
TOO_LATE = "its time limit had passed before it could be sent"


class ConnectError(Exception):
    """The server cannot be reached; the message names the address and the reason."""


class TargetError(UserError):
    """A server or a model that trtbench cannot measure; the message names what was found and the remedy."""


@dataclass(frozen=True)
class RequestOptions:
    """What the user asks of requests beyond the scenario. `endpoint` is a name in the `endpoints` of one ClientKind.

    `extra_inputs` are keys that every request gets. `system_prompt` is the first message of every chat. `streaming` is the workload's.
    `classes` are length classes with a model each, which receives the requests of its class in place of the model that is inspected.
    """

    endpoint: str = "kserve"
    extra_inputs: Mapping[str, Any] = field(default_factory=dict)
    system_prompt: str = ""
    streaming: bool = True
    classes: tuple[ServedClass, ...] = ()


@dataclass(frozen=True)
class Limits:
    """The instants at which a request is given up: at its time limit, or where the plan has its user cancel it."""

    deadline_ns: int
    cancel_after_tokens: int | None = None
    cancel_after_ns: int | None = None  # counted from the sending

    def first_in_time(self, sent_ns: int) -> tuple[int, Outcome, str]:
        """(Instant, outcome, error) of the limit that a request sent at `sent_ns` reaches first if no token arrives."""
        if self.cancel_after_ns is not None and sent_ns + self.cancel_after_ns < self.deadline_ns:
            return sent_ns + self.cancel_after_ns, Outcome.CANCELLED, f"planned: after {self.cancel_after_ns / NS_PER_S:g} s"
        return self.deadline_ns, Outcome.TIMEOUT, "its time limit has passed"

    def tokens_reached(self, tokens: int) -> str:
        """The error of a request that the plan cancels after `tokens` tokens; an empty text if it does not cancel it yet."""
        most = self.cancel_after_tokens
        return f"planned: after {most} tokens" if most is not None and tokens >= most else ""


class Target(Protocol):
    """One model of a running server, as its client found it by inspection. It is a frozen dataclass, which workers receive as JSON."""

    client: ClassVar[str]
    """The name in CLIENTS of the client that sends to it."""

    @property
    def url(self) -> str:
        """The address of its server; of the first, where several serve the model."""

    @property
    def model(self) -> str: ...

    @property
    def takes_text(self) -> bool:
        """Whether prompts are sent as texts. Otherwise they are sent as token ids."""

    @property
    def counts_tokens(self) -> bool:
        """Whether the number of tokens in each response is known, from their ids or because the server reports it."""

    @property
    def returns_ids(self) -> bool:
        """Whether the token ids of each answer are known, which the next turn of a session repeats."""

    @property
    def tensors(self) -> ModelTensors | None:
        """What the model takes and returns, if requests carry the workload's tensors; None if they carry prompts."""

    @property
    def padded_to_tokens(self) -> int | None:
        """The length to which the client pads every input, or None if it sends each input as long as it is."""

    @property
    def metrics_model(self) -> str | None:
        """The model whose engine metrics belong to this one, where that is another model; an empty text means any model."""

    @property
    def statistics_address(self) -> str | None:
        """HOST:PORT of the gRPC service that has Triton's statistics of the model, or None where the client knows of none."""

    @property
    def metrics_url(self) -> str | None:
        """The server's page of metrics, if it has one; None where that is unknown. A page that the user names comes first."""

    def server_facts(self) -> DeploymentFile:
        """What a run records of a server that trtbench did not start."""

    def token_facts(self) -> dict[str, Any]:
        """The way in which tokens are counted, for the key `tokens` of deployment.json."""

    def notes(self) -> list[str]:
        """A sentence for each thing that the inspection could not find out and the run continues without."""

    def with_servers(self, others: Sequence[str]) -> Target:
        """The same model on further servers, among which the client distributes requests round robin."""

    def padded(self, longest_tokens: int) -> tuple[Target, str]:
        """The target with the padding that inputs of up to `longest_tokens` need, and a note on it for the run, which may be empty.

        ScenarioError if an input would be longer than the model takes.
        """


class Client(Protocol):
    """Sends requests to a target. `encode_request` runs before a phase, `send_request` during it, both on the event loop's thread."""

    def encode_request(self, prompt: PlannedPrompt, context: Sequence[int] = ()) -> bytes:
        """The prompt as `send_request` sends it. `context` are the token ids that the model reads before those of the prompt."""

    async def open_streams(self, streams: int) -> None:
        """Open what `streams` concurrent requests will need, so that no request waits for it. ConnectError if the server is not reached."""

    async def send_request(self, record: RequestRecord, body: bytes, limits: Limits) -> None:
        """Send one request, write all that comes of it into `record`, and return when it is over.

        A cancellation that the plan asks for is the outcome CANCELLED, with what had arrived. The caller counts attempts and workers.

        A failure of the request is not raised: it becomes the record's outcome. Cancelling the call cancels the request on the server,
        records what had arrived with the outcome CANCELLED, and raises CancelledError.
        """

    def renew_streams(self) -> None:
        """Use no open stream for another request: a server may keep a replaced model loaded until the streams that used it are closed."""

    def transport_facts(self) -> dict[str, Any]:
        """What the run records of the transport, as plain JSON: its name, the source of timestamps, connections, reconnects, failures."""

    async def close(self) -> None: ...


@runtime_checkable
class SwitchingClient(Client, Protocol):
    """A Client whose requests name their model only when they are sent, as reloads need it."""

    async def switch_model(self, model: str) -> None:
        """Send the requests that begin from now on to another model of the server; returns when all earlier ones are over."""


@dataclass(frozen=True)
class ClientKind:
    """A kind of client: how it inspects a server, how it sends, and what a target of it is made of.

    `inspect(url, model, version, timeout_s, settings, task, options)` asks a running server about a model; TargetError if that cannot be
    measured, UserError for an address without such a server. `open(target, workload, settings, end_id)` needs a running event loop.
    `target` is the dataclass of its targets. `open_files(settings, streams)` is how many files a process with `streams` concurrent streams
    opens. `endpoints` are the names of the ways in which it sends requests. `address(url)` is the address that a URL of the user names, or
    UserError. `sends_priorities`: a request names its priority level.
    """

    inspect: Callable[..., Target]
    open: Callable[[Any, Workload, ClientSettings, int], Client]
    target: type[Any]
    open_files: Callable[[ClientSettings, int], int]
    endpoints: tuple[str, ...] = ()
    address: Callable[[str], str] = lambda url: url
    sends_priorities: bool = False
