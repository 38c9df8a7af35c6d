"""A fake OpenAI-compatible server, for what real ones do not do on demand: refused keys, rate limits, error events, cut streams.

It speaks HTTP/1.1 by hand, in a thread of the test's own process.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Manners:
    """How the server behaves. `fault` names what goes wrong, from POST number `faulty_from` on: the probe's come first.

    `refuses`: keys that it answers with status 400. `makes_tokens`: the length of every output; None: what is asked.
    """

    models: tuple[str, ...] = ("m",)
    refuses: frozenset[str] = frozenset()
    takes_ids: bool = True
    gives_ids: bool = True
    gives_usage: bool = True
    reasoning_tokens: int = 0
    tokens_an_event: int = 1
    makes_tokens: int | None = None
    key: str = ""
    fault: str = ""
    faulty_from: int = 0
    token_s: float = 0.002


@dataclass
class FakeOpenai:
    """`bodies` are the requests so far."""

    manners: Manners
    url: str = ""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)

    async def serve_connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                first = await reader.readexactly(1)
                head = (first + await reader.readuntil(b"\r\n\r\n")).decode("latin-1") if first.isalpha() else ""
                sizes = [int(line.partition(":")[2]) for line in head.split("\r\n") if line.lower().startswith("content-length:")]
                body = await reader.readexactly(sizes[0]) if sizes else b""
                if not head.startswith(("GET ", "POST ")):  # a client that finds out what is spoken here
                    writer.write(b"HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n")
                    await writer.drain()
                    break
                self.heads.append(head)
                if not await self._answer(writer, head.split()[0], head.split()[1], json.loads(body) if body else {}):
                    break
        writer.close()

    async def _answer(self, writer: asyncio.StreamWriter, method: str, path: str, body: dict[str, Any]) -> bool:
        """Whether the connection stays open."""
        manners = self.manners
        if manners.key and f"authorization: bearer {manners.key}" not in self.heads[-1].lower():
            _whole(writer, 401, {"error": {"message": "Incorrect API key provided"}})
        elif path == "/v1/models":
            _whole(writer, 200, {"data": [{"id": model, "owned_by": "fake", "max_model_len": 512} for model in manners.models]})
        elif path == f"/v2/models/{manners.models[0]}/config":
            _whole(writer, 200, _TRITON_CONFIG)
        elif path == "/v2/repository/index":
            _whole(writer, 200, [{"name": model} for model in manners.models])
        elif path == "/v2":
            _whole(writer, 200, {"name": "triton", "version": "2.51.0"})
        elif path.startswith(f"/v2/models/{manners.models[0]}/generate"):
            self.bodies.append(body)
            await self._generate_text(writer, body, manners.fault if len(self.bodies) > manners.faulty_from else "")
        elif method == "POST" and path in ("/v1/completions", "/v1/chat/completions"):
            self.bodies.append(body)
            fault = manners.fault if len(self.bodies) > manners.faulty_from else ""
            if fault in _WHOLE_FAULTS:
                _raw(writer, *_WHOLE_FAULTS[fault])
            elif refused := self._refused(body):
                _whole(writer, 400, {"error": {"message": refused, "code": 400}})
            else:
                await self._generate(writer, path, body, fault)
                return fault not in ("cut", "endless")
        else:
            _whole(writer, 404, {"detail": "Not Found"})
        await writer.drain()
        return True

    def _refused(self, body: dict[str, Any]) -> str:
        if not self.manners.takes_ids and isinstance(body.get("prompt"), list):
            return "prompt must be a string"
        keys = {*body, *body.get("stream_options", {})}
        return "".join(f"Extra inputs are not permitted: {key}" for key in sorted(self.manners.refuses & keys)[:1])

    async def _generate(self, writer: asyncio.StreamWriter, path: str, body: dict[str, Any], fault: str) -> None:
        chat = "chat" in path
        asked = body.get("max_completion_tokens", body.get("max_tokens"))
        tokens = asked if self.manners.makes_tokens is None else self.manners.makes_tokens
        usage = {"prompt_tokens": len(body.get("prompt", "12345")), "completion_tokens": tokens}
        if not body["stream"]:
            choice: dict[str, Any] = {"index": 0, "finish_reason": "length"}
            choice |= {"message": {"content": " a" * tokens}} if chat else {"text": " a" * tokens}
            _whole(writer, 200, {"choices": [choice], **({"usage": usage} if self.manners.gives_usage else {})})
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
        if chat:
            _event(writer, {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]})
        await self._stream(writer, body, tokens, chat, fault)
        if fault in ("cut", "error_event"):
            if fault == "error_event":
                _event(writer, {"error": {"message": "CUDA error: out of memory", "code": 500}})
                writer.write(b"0\r\n\r\n")
            await writer.drain()
            return
        if self.manners.gives_usage and body.get("stream_options", {}).get("include_usage"):
            _event(writer, {"choices": [], "usage": usage})
        if fault != "no_done":
            _chunk(writer, b"data: [DONE]\n\n")
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _generate_text(self, writer: asyncio.StreamWriter, body: dict[str, Any], fault: str) -> None:
        """Triton's generate_stream: a stream without an end mark, whose errors are events."""
        tokens, event = body["max_tokens"], {"model_name": "m", "model_version": "1"}
        if not body["stream"]:
            _whole(writer, 200, event | {"text_output": " a" * tokens, "num_output_tokens": tokens, "num_input_tokens": 5})
            return
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n")
        for number in range(tokens):
            if fault == "error_event" and number == tokens // 2:
                _event(writer, {"error": "in ensemble 'm', out of memory"})
                break
            _event(writer, event | {"text_output": " a", "num_output_tokens": 1, "num_input_tokens": 5})
            await writer.drain()
            await asyncio.sleep(self.manners.token_s)
        writer.write(b"0\r\n\r\n")
        await writer.drain()

    async def _stream(self, writer: asyncio.StreamWriter, body: dict[str, Any], tokens: int, chat: bool, fault: str) -> None:
        manners, made, number = self.manners, 0, 0
        end = tokens // 2 if fault in ("cut", "error_event") else 1 << 30 if fault == "endless" else tokens
        while made < end:
            now = min(manners.tokens_an_event, end - made)
            made += now
            number += 1
            last = made >= tokens and fault not in ("no_finish", "endless")
            choice: dict[str, Any] = {"index": 0, "finish_reason": "length" if last else None}
            key = "reasoning_content" if number <= manners.reasoning_tokens else "content"
            choice |= {"delta": {key: " a" * now}} if chat else {"text": " a" * now}
            if manners.gives_ids and body.get("return_token_ids"):
                choice["token_ids"] = list(range(made - now, made))
            event: dict[str, Any] = {"choices": [choice]}
            if manners.gives_usage and body.get("stream_options", {}).get("continuous_usage_stats"):
                event["usage"] = {"prompt_tokens": 5, "completion_tokens": made}
            _event(writer, event)
            await writer.drain()
            await asyncio.sleep(manners.token_s)


_TRITON_CONFIG: dict[str, Any] = {
    "name": "m",
    "input": [
        {"name": name}
        for name in (
            *("text_input", "max_tokens", "stream", "end_id", "top_k", "exclude_input_in_output"),
            *("return_num_input_tokens", "return_num_output_tokens"),
        )
    ],
    "output": [{"name": name} for name in ("text_output", "num_input_tokens", "num_output_tokens")],
}
_PAGE = b"<html><head><title>Welcome to nginx</title></head></html>"
_JSON = "application/json"
_WHOLE_FAULTS: dict[str, tuple[int, str, bytes, str]] = {
    "rate_limit": (429, _JSON, b'{"error": {"message": "Rate limit reached"}}', "Retry-After: 7\r\n"),
    "denied": (401, _JSON, b'{"error": {"message": "Incorrect API key provided"}}', ""),
    "gone": (404, _JSON, b'{"error": {"message": "The model `m` does not exist."}}', ""),
    "too_long": (400, _JSON, b'{"error": {"message": "This model\'s maximum context length is 512 tokens."}}', ""),
    "bad_request": (400, _JSON, b'{"detail": "unknown role"}', ""),
    "too_late": (504, _JSON, b"", ""),
    "overloaded": (503, _JSON, b"overloaded", ""),
    "page": (200, "text/html", _PAGE, ""),
    "redirect": (307, "text/plain", b"", "Location: http://elsewhere/\r\n"),
    "not_json": (200, _JSON, b"hello", ""),
}


def _raw(writer: asyncio.StreamWriter, status: int, content_type: str, body: bytes, more: str = "") -> None:
    head = f"HTTP/1.1 {status} Status\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    writer.write(head.encode() + body)


def _whole(writer: asyncio.StreamWriter, status: int, tree: dict[str, Any] | list[Any]) -> None:
    _raw(writer, status, _JSON, json.dumps(tree).encode())


def _event(writer: asyncio.StreamWriter, tree: dict[str, Any]) -> None:
    _chunk(writer, b"data: " + json.dumps(tree).encode() + b"\n\n")


def _chunk(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(b"%x\r\n%s\r\n" % (len(data), data))


@contextmanager
def serving_openai(manners: Manners | None = None, tls: ssl.SSLContext | None = None) -> Iterator[FakeOpenai]:
    """The server on a free port of loopback, until the block ends."""
    fake, ready = FakeOpenai(manners or Manners()), threading.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        server = await asyncio.start_server(fake.serve_connection, "127.0.0.1", 0, ssl=tls)
        fake.url = f"http{'s' if tls else ''}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        ready.set()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.run_forever()
        for task in asyncio.all_tasks(loop):
            task.cancel()
            with suppress(asyncio.CancelledError):
                loop.run_until_complete(task)
        loop.close()

    thread = threading.Thread(target=run, name="fake_openai", daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield fake
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
