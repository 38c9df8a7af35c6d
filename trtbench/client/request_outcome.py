"""Outcomes of requests: the class of a failure by the words of a server or of the transport, and how a request's record is ended.

The texts are those of Triton's core and gRPC endpoint, of TensorRT-LLM's executor and of trtbench's own Triton models.
"""

from __future__ import annotations

import re

from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.system.clock import now_ns

ANSWERED = (Outcome.COMPLETED, Outcome.EMPTY, Outcome.WRONG_OUTPUT)
"""The server answered to the end. The stream can carry the next request, and sending the request again would bring the same answer."""
_LONGEST_ERROR = 500  # characters; the message of a server may contain a stack trace

_TEXTS: tuple[tuple[str, Outcome], ...] = (
    # The first match counts: an out-of-memory text may also name a model that is not ready.
    (r"exceeds maximum input length", Outcome.TOO_LONG),
    (r"does not fit the kv cache", Outcome.TOO_LONG),
    (r"should not exceed max_(num_tokens|seq_len)", Outcome.TOO_LONG),
    (r"encountered an error when fetching new request: prompt length", Outcome.TOO_LONG),
    (r"impossible to fit in any sequence in kvcache", Outcome.TOO_LONG),
    (r"larger than (the )?max(imum)?_?(input_len|seq_len| input length| sequence length)", Outcome.TOO_LONG),
    (r"out of memory|\boutofmemory|\boom\b|bad_alloc|cuda_?error_?(memory_?allocation|out_?of_?memory)", Outcome.OUT_OF_MEMORY),
    (r"no free blocks|can't allocate new blocks|failed to allocate|cublas_status_alloc_failed|allocateasync", Outcome.OUT_OF_MEMORY),
    (r"exceeds maximum queue size|max(imum)? queue size", Outcome.REJECTED),
    (r"request timeout expired|deadline exceeded", Outcome.TIMEOUT),
    (r"unknown model|no available versions|not (at )?ready|is unloading", Outcome.UNAVAILABLE),
    (r"server is stopping|stopped accepting new inference", Outcome.UNAVAILABLE),
    (r"received message larger than max|a message of \d+ bytes, over the limit", Outcome.OTHER),  # RESOURCE_EXHAUSTED, but no queue is full
    (r"failed to connect|connection (reset|refused|closed|broken)|socket closed|broken pipe", Outcome.CONNECTION),
    (r"goaway|stream removed|rst_stream|http/2|keepalive|\bdns\b|\b(tls|ssl)\b|certificate", Outcome.CONNECTION),
    (r"request (was )?cancel|request has been cancel", Outcome.CANCELLED),
)
_TABLE = tuple((re.compile(pattern, re.IGNORECASE), outcome) for pattern, outcome in _TEXTS)

_CODES = {
    "CANCELLED": Outcome.CANCELLED,
    "DEADLINE_EXCEEDED": Outcome.TIMEOUT,
    "NOT_FOUND": Outcome.UNAVAILABLE,
    "RESOURCE_EXHAUSTED": Outcome.REJECTED,
    "UNAVAILABLE": Outcome.CONNECTION,  # if the server itself sends this status, it carries one of the texts above
}


def classify(code: str, text: str) -> Outcome:
    """The class of a failure, by its message and the name of its gRPC status; `code` is empty for an error inside a stream."""
    for pattern, outcome in _TABLE:
        if pattern.search(text):
            return outcome
    return _CODES.get(code, Outcome.OTHER)


def end(record: RequestRecord, outcome: Outcome, error: str, done_ns: int | None = None) -> None:
    """End a record. `done_ns` is the instant at which the outcome was known, by default now."""
    record.outcome, record.error, record.done_ns = outcome, error[:_LONGEST_ERROR], done_ns or now_ns()


def end_with_final(record: RequestRecord, has_output: bool, done_ns: int, fault: str = "") -> None:
    """End a request whose final response has arrived: as completed, unless it has a `fault` or lacks the requested output."""
    if fault:
        end(record, Outcome.OTHER, f"malformed response: {fault}", done_ns)
    elif record.asked_output_tokens and not has_output:
        end(record, Outcome.EMPTY, "the answer has no output: its final response came without a token or a text before it", done_ns)
    else:
        end(record, Outcome.COMPLETED, "", done_ns)


def end_with_status(record: RequestRecord, code: str, text: str) -> None:
    """End a request whose stream ended before the final response, with a gRPC status: the name of its code and its message."""
    error = text or (f"stream ended with {code}" if code != "OK" else "stream closed without a final response")
    end(record, classify("" if code == "OK" else code, error), error)
