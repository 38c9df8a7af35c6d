from __future__ import annotations

import pytest

from trtbench.load.errors import classify
from trtbench.records import Outcome

TEXTS = [
    # our own Triton model
    ("Prompt length (9000) exceeds maximum input length (8192)", Outcome.TOO_LONG),
    ("A request of 600 + 8 tokens does not fit the KV cache: needs 19 blocks of 16", Outcome.TOO_LONG),
    # TensorRT-LLM
    (
        "Executor failed process requestId 7 due to the following error: Encountered an error when fetching new request: Prompt length "
        "(9000) exceeds maximum input length (8192). Set log level to info and check TRTGptModel logs for how maximum input length is set",
        Outcome.TOO_LONG,
    ),
    ("The sum of prompt length (900), query length (0) should not exceed max_num_tokens (512)", Outcome.TOO_LONG),
    ("[TensorRT-LLM][ERROR] Assertion failed: Can't allocate new blocks. No free blocks left.", Outcome.OUT_OF_MEMORY),
    ("CUDA error: out of memory", Outcome.OUT_OF_MEMORY),
    ("CUDA out of memory. Tried to allocate 2.00 GiB", Outcome.OUT_OF_MEMORY),
    ("std::bad_alloc", Outcome.OUT_OF_MEMORY),
    # Triton's core
    ("[request id: a-c8-m1] Exceeds maximum queue size", Outcome.REJECTED),
    ("Request timeout expired", Outcome.TIMEOUT),
    ("Request for unknown model: 'x' is not found", Outcome.UNAVAILABLE),
    ("Request for unknown model: 'x' has no available versions", Outcome.UNAVAILABLE),
    ("Request for unknown model: 'x' version 2 is not at ready state", Outcome.UNAVAILABLE),
    ("Server is stopping, scheduler for model has stopped accepting new inference requests", Outcome.UNAVAILABLE),
    ("something nobody has seen", Outcome.OTHER),
    ("", Outcome.OTHER),
]
STATUSES = [
    ("UNAVAILABLE", "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:8001: connection refused", Outcome.CONNECTION),
    ("UNAVAILABLE", "Socket closed", Outcome.CONNECTION),
    ("UNAVAILABLE", "recvmsg:Connection reset by peer", Outcome.CONNECTION),
    ("UNAVAILABLE", "GOAWAY received", Outcome.CONNECTION),
    ("UNAVAILABLE", "", Outcome.CONNECTION),
    ("INTERNAL", "Internal error from Core", Outcome.CONNECTION),
    ("INTERNAL", "Received RST_STREAM with error code 2", Outcome.CONNECTION),
    ("UNAVAILABLE", "Exceeds maximum queue size", Outcome.REJECTED),
    ("UNAVAILABLE", "Request for unknown model: 'x' is not found", Outcome.UNAVAILABLE),
    ("NOT_FOUND", "no such thing", Outcome.UNAVAILABLE),
    ("DEADLINE_EXCEEDED", "Deadline Exceeded", Outcome.TIMEOUT),
    ("CANCELLED", "CANCELLED", Outcome.CANCELLED),
    ("RESOURCE_EXHAUSTED", "too many", Outcome.REJECTED),
    ("INTERNAL", "in ensemble: out of memory", Outcome.OUT_OF_MEMORY),
    ("INTERNAL", "strange", Outcome.OTHER),
]


@pytest.mark.parametrize(("text", "outcome"), TEXTS)
def test_errors_inside_a_stream_go_by_their_text(text: str, outcome: Outcome) -> None:
    assert classify("", text) is outcome


@pytest.mark.parametrize(("code", "text", "outcome"), STATUSES)
def test_statuses_go_by_text_then_code(code: str, text: str, outcome: Outcome) -> None:
    assert classify(code, text) is outcome
