"""Answers of HTTP/1.1 servers, written by hand in the forms in which vLLM, Triton and trtllm-serve send them."""

from __future__ import annotations

UVICORN_HEAD = (
    b"HTTP/1.1 200 OK\r\ndate: Tue, 01 Dec 2026 10:00:00 GMT\r\nserver: uvicorn\r\n"
    b"content-type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
)
"""vLLM and trtllm-serve, which both run under uvicorn."""
TRITON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"
"""Triton's generate_stream, by libevhtp."""
LAST_CHUNK = b"0\r\n\r\n"
VLLM_DATA = (
    b'{"id":"cmpl-1","object":"text_completion","created":1796119200,"model":"m","choices":[{"index":0,"text":" a","logprobs":null,'
    b'"finish_reason":null,"stop_reason":null,"prompt_token_ids":[1,2],"token_ids":[5]}],"usage":null}',
    b'{"id":"cmpl-1","object":"text_completion","created":1796119200,"model":"m","choices":[{"index":0,"text":"\\n\\n","logprobs":null,'
    b'"finish_reason":"length","stop_reason":null,"token_ids":[6]}],"usage":null}',
    b'{"id":"cmpl-1","object":"text_completion","created":1796119200,"model":"m","choices":[],"usage":{"prompt_tokens":2,'
    b'"total_tokens":4,"completion_tokens":2}}',
    b"[DONE]",
)
TRITON_DATA = (
    b'{"model_name":"ensemble","model_version":"1","sequence_end":false,"sequence_id":0,"sequence_start":false,"text_output":" a"}',
    b'{"error":"in ensemble \'ensemble\', Executor failed process requestId 3"}',
)


def chunk(body: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(body), body)


def event(data: bytes) -> bytes:
    return b"data: %s\n\n" % data


def vllm_answer() -> bytes:
    """Each event in a chunk, an event of usage alone, [DONE], and the last chunk."""
    return UVICORN_HEAD + b"".join(chunk(event(data)) for data in VLLM_DATA) + LAST_CHUNK


def triton_answer() -> bytes:
    """An error after the first token, under status 200; no [DONE]."""
    return TRITON_HEAD + b"".join(chunk(event(data)) for data in TRITON_DATA) + LAST_CHUNK


def plain(status: bytes, body: bytes, *headers: bytes, content_type: bytes = b"application/json") -> bytes:
    """An answer with a length."""
    lines = [b"HTTP/1.1 " + status, b"content-type: " + content_type, b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body
