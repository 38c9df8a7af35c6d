from __future__ import annotations

import pytest

from trtbench.client.request_outcome import classify, end, end_with_status
from trtbench.rundir.records import Outcome, RequestRecord

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
    (
        "Executor failed process requestId 9 due to the following error: [TensorRT-LLM][ERROR] CUDA runtime error in "
        "::cudaMallocAsync(ptr, n, stream): out of memory (/src/tensorrt_llm/common/tllmBuffers.h:112)",
        Outcome.OUT_OF_MEMORY,
    ),
    ("Error generating request: torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB", Outcome.OUT_OF_MEMORY),
    ("RuntimeError: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate(handle)", Outcome.OUT_OF_MEMORY),
    ("cudaErrorMemoryAllocation", Outcome.OUT_OF_MEMORY),
    ("CUDA_ERROR_OUT_OF_MEMORY", Outcome.OUT_OF_MEMORY),
    ("Impossible to fit in any sequence in kvCache", Outcome.TOO_LONG),
    ("Error generating request: The sum of prompt length (9), query length (0) should not exceed max_num_tokens (8)", Outcome.TOO_LONG),
    ("Encountered an error when fetching new request: no room in the broom cupboard", Outcome.OTHER),
    ("Executor failed process requestId 3 due to the following error: Encountered an error in forwardAsync function", Outcome.OTHER),
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
    ("INTERNAL", "Received RST_STREAM with error code 2", Outcome.CONNECTION),
    ("UNAVAILABLE", "Exceeds maximum queue size", Outcome.REJECTED),
    ("UNAVAILABLE", "Request for unknown model: 'x' is not found", Outcome.UNAVAILABLE),
    ("RESOURCE_EXHAUSTED", "CLIENT: Received message larger than max (136 vs. 10)", Outcome.OTHER),
    # our own transport
    ("RESOURCE_EXHAUSTED", "a message of 99999999 bytes, over the limit 67108864", Outcome.OTHER),
    ("UNAVAILABLE", "RST_STREAM with REFUSED_STREAM", Outcome.CONNECTION),
    ("CANCELLED", "RST_STREAM with CANCEL", Outcome.CONNECTION),
    ("RESOURCE_EXHAUSTED", "RST_STREAM with ENHANCE_YOUR_CALM", Outcome.CONNECTION),
    ("UNAVAILABLE", "GOAWAY with ENHANCE_YOUR_CALM too_many_pings", Outcome.CONNECTION),
    ("", "failed to connect to 127.0.0.1:1: Connection refused", Outcome.CONNECTION),
    ("", "connection broken: Connection reset by peer", Outcome.CONNECTION),
    ("", "connection closed by the server", Outcome.CONNECTION),
    ("", "DNS: the host of nowhere.invalid:8001 has no address (Name or service not known)", Outcome.CONNECTION),
    ("", "TLS: the server's certificate is not trusted (self-signed certificate)", Outcome.CONNECTION),
    ("", "keepalive: half-open, no answer to a PING for 20 s", Outcome.CONNECTION),
    ("", "HTTP/2 broken: FRAME_SIZE_ERROR: a frame of 16777215 bytes", Outcome.CONNECTION),
    ("UNAVAILABLE", "HTTP status 503 without a grpc-status", Outcome.CONNECTION),
    ("UNIMPLEMENTED", "HTTP status 404 without a grpc-status", Outcome.OTHER),
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


def new_record() -> RequestRecord:
    return RequestRecord(index=0, stage="c1", warmup=False, prompt=0, input_tokens=1, asked_output_tokens=1, due_ns=0)


@pytest.mark.parametrize(
    ("code", "text", "outcome", "error"),
    [
        ("OK", "", Outcome.OTHER, "stream closed without a final response"),
        ("INTERNAL", "", Outcome.OTHER, "stream ended with INTERNAL"),
        ("UNAVAILABLE", "", Outcome.CONNECTION, "stream ended with UNAVAILABLE"),
        ("UNAVAILABLE", "Exceeds maximum queue size", Outcome.REJECTED, "Exceeds maximum queue size"),
    ],
)
def test_a_stream_that_ended_says_why(code: str, text: str, outcome: Outcome, error: str) -> None:
    record = new_record()
    end_with_status(record, code, text)
    assert (record.outcome, record.error) == (outcome, error) and record.done_ns


def test_a_stack_trace_is_cut_and_an_instant_kept() -> None:
    record = new_record()
    end(record, Outcome.OTHER, "x" * 10_000, done_ns=7)
    assert len(record.error) == 500 and record.done_ns == 7
