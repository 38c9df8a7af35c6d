"""The records of a run, which cross from measuring to reporting.

Files are described in `rundir/directory.py`. Instants are nanoseconds of the run's one monotonic clock (`clock.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any

from trtbench.rundir.series import AnySeries

FORMAT_VERSION = 2
"""The format of the run directory; every earlier format can be read. History: 1 (2026-11): first. 2 (2026-11): lag of each timestamp,
coalesced reads, attempts, sessions, planned cancellation, the worker, answers without tokens; one file of requests for each worker
during the run. Added within 2: fields of requests that are empty if a run does not have them (output as text, the engine's own counts);
`traits` of deployment.json, which are derived from the provider's name if a run does not have them (`rundir/traits.py`).
"""


class Outcome(str, Enum):
    """The end of a planned request. Each request has exactly one outcome, so planned = the sum over all outcomes."""

    COMPLETED = "completed"
    CANCELLED = "cancelled"  # by us: a stop, or a planned cancellation
    TIMEOUT = "timeout"  # the request's own time limit, ours or the server's queue
    NEVER_SENT = "never_sent"  # the run or the stage ended first
    REJECTED = "rejected"  # the server's queue was full, or its rate limit reached
    DENIED = "denied"  # the server does not accept the client's credentials
    BAD_REQUEST = "bad_request"  # the server refuses the request itself
    TOO_LONG = "too_long"  # can never fit: the model's positions or the whole KV cache
    UNAVAILABLE = "unavailable"  # model unknown, not ready, or unloading
    OUT_OF_MEMORY = "out_of_memory"
    CONNECTION = "connection"  # the transport broke: server gone, reset
    WRONG_OUTPUT = "wrong_output"  # answered, but not with the values that the data expects
    INCOMPLETE = "incomplete"  # a streamed answer without its end: no [DONE], or no reason why it finished
    EMPTY = "empty"  # answered to the end without a token or a text, although output was asked for
    OTHER = "other"

    @property
    def is_failure(self) -> bool:
        """Whether the class counts as `failed` in the report's equation."""
        return self not in (Outcome.COMPLETED, Outcome.CANCELLED, Outcome.TIMEOUT, Outcome.NEVER_SENT)


@dataclass(slots=True)
class ServerTimes:
    """The server's timestamps of one request, from its last response, in ns of the server's monotonic clock.

    They are comparable with the client's instants only on the same machine.
    """

    arrival_ns: int
    first_scheduled_ns: int
    first_token_ns: int
    last_token_ns: int


@dataclass(slots=True)
class EngineCounts:
    """The engine's counts for one request, from its last response; None for a count that it does not report.

    KV blocks are those of the prompt, as TensorRT-LLM counts them: `kv_reused_blocks` were found in the cache, `kv_missed_blocks` were not;
    `kv_allocated_blocks` were taken from the free ones, of which `kv_new_blocks` were empty before. Draft tokens are those that speculative
    decoding proposed, 0 without it.
    """

    kv_reused_blocks: int | None = None
    kv_missed_blocks: int | None = None
    kv_new_blocks: int | None = None
    kv_allocated_blocks: int | None = None
    draft_tokens: int | None = None
    accepted_draft_tokens: int | None = None


@dataclass(slots=True)
class RequestRecord:
    """One planned request with its result.

    `token_ns[i]` is the arrival of the i-th response that carried tokens and `token_counts[i]` the number of its tokens; `done_ns` is the
    arrival of the final response, or the instant at which the failure was known. An instant that did not occur is None.

    Arrivals have kernel timestamps where possible. Then `token_lag_ns[i]` is how much later this process read that response (its own lag),
    and `coalesced` lists the positions i that were read together with other responses: their timestamp is that of the newest, and their
    arrival may have been earlier. Without kernel timestamps `token_lag_ns` is empty, and arrivals are the instants of the reads.

    `read_with_end`: the last of `token_ns` was read together with the end of its answer, or a part of it, and with no other response.
    It is not listed in `coalesced`: it arrived at its timestamp, or earlier by at most the time in which the server sent the end after it.
    """

    index: int  # position in the phase
    stage: str
    warmup: bool
    prompt: int  # index into the stage's planned prompts (plan.jsonl)
    input_tokens: int
    asked_output_tokens: int
    due_ns: int
    sent_ns: int | None = None  # the last attempt's
    done_ns: int | None = None
    token_ns: list[int] = field(default_factory=list)
    token_lag_ns: list[int] = field(default_factory=list)
    token_counts: list[int] = field(default_factory=list)
    output_ids: list[int] = field(default_factory=list)
    coalesced: list[int] = field(default_factory=list)
    outcome: Outcome = Outcome.NEVER_SENT
    error: str = ""
    model_version: str = ""
    server: ServerTimes | None = None
    attempts: int = 0  # times it was sent: above 1, it was retried
    planned_cancel: bool = False  # the plan cancels it; it may have completed before
    mix: str = ""  # the component of a mixed workload it was drawn from
    session: int | None = None  # of a workload with sessions: which, and the turn in it from 0
    turn: int = 0
    worker: int = 0  # the process that sent it
    embedding: list[float] = field(default_factory=list)  # an encoder's answer, of a stage's first prompts only
    done_lag_ns: int | None = None  # of a request whose answer is one response without tokens: how much later it was read
    echoed_tokens: int = 0  # of the prompt, which came before the output and was taken off
    finish_reason: str = ""  # in the server's words, if it reports one
    output_text: str = ""  # of a server that reports no token counts: all that came, an echoed prompt too
    text_tokens: int | None = None  # of the output in `output_text`, by our tokenizer: an estimate
    engine: EngineCounts | None = None  # if the server reports them
    row: int | None = None  # of a request that carries tensors: which of the plan's rows (inputs.parquet)
    reasoning_responses: int = 0  # the first of `token_ns` that carried reasoning only
    planned_input_tokens: int | None = None  # if the server counts another number of tokens in the prompt
    retry_after_s: float | None = None  # how long a server that refused the request asked to wait
    admitted_ns: int | None = None  # when it got a place under max_in_flight, if it had to wait for one
    read_with_end: bool = False

    @property
    def output_tokens(self) -> int:
        return sum(self.token_counts)

    @property
    def counts_tokens(self) -> bool:
        """Whether the number of output tokens is known. It is not known for a text whose server does not report it; its `token_counts` are
        zeros.
        """
        return not self.token_ns or any(self.token_counts)

    @property
    def tokens_estimated(self) -> bool:
        """Whether the tokens are known only by trtbench's tokenizer."""
        return self.text_tokens is not None and not (self.finish_reason == "length" and self.outcome is Outcome.COMPLETED)

    def to_json(self) -> dict[str, object]:
        # Not asdict: its deep copies of the lists cost the load generator five times the rest.
        row = {name: getattr(self, name) for name in self.__slots__}
        reported = {"server": asdict(self.server) if self.server else None, "engine": asdict(self.engine) if self.engine else None}
        return row | {"outcome": self.outcome.value} | reported

    @classmethod
    def from_json(cls, row: Mapping[str, object]) -> RequestRecord:
        values: dict[str, Any] = dict(row)
        server, engine = values.get("server"), values.get("engine")
        reported = {"server": ServerTimes(**server) if server else None, "engine": EngineCounts(**engine) if engine else None}
        return cls(**values | {"outcome": Outcome(values["outcome"])} | reported)


@dataclass(slots=True, frozen=True)
class Sample:
    """One reading of one series. `label` distinguishes series of one name (a batch size, a GPU index); otherwise it is "".

    Names contain the unit.
    """

    time_ns: int
    name: AnySeries
    label: str
    value: float


@dataclass(slots=True, frozen=True)
class Event:
    """An event of the run. `data` is the JSON of its line, for tables and listeners; trtbench itself reads the object that
    `rundir/events.py` makes of it.
    """

    time_ns: int
    kind: str
    deployment: str = ""
    data: Mapping[str, object] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        return {"time_ns": self.time_ns, "kind": self.kind, "deployment": self.deployment, "data": self.data}


@dataclass(slots=True, frozen=True)
class Environment:
    """The machine and software of the run; `environment.json`. It contains no environment variables except those on the allow list of
    `environment.py`.
    """

    trtbench_version: str
    started_utc: str
    anchor_monotonic_ns: int
    anchor_wall_ns: int
    hostname_sha256: str  # distinguishes runs of one machine from another's; the name stays private
    platform: str
    python: str
    cpu_model: str
    cpu_count: int
    memory_bytes: int
    gpus: list[dict[str, object]]
    nvml: str  # "driver 550.54" or why there is none
    packages: dict[str, str]
    variables: dict[str, str]
    memory_limit_bytes: int | None = None  # of the container, where it has one
