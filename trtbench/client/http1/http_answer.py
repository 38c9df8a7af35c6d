"""Answer: one answer of HTTP/1.1, from its status line to its end, as httptools parses it."""

from __future__ import annotations

from typing import Any

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

from trtbench.client.http1.event_stream import EventSplitter, OverlongEventError
from trtbench.client.http1.refusal import is_page, refusal
from trtbench.client.wire import StreamEnded, WireFault
from trtbench.system.foreign_text import shown

_MOST_HEAD_BYTES = 1 << 16  # of the headers of an answer, and of what is between two pieces of its body
_HEADER_FRAME_BYTES = 4  # colon, blank and CRLF
_MOST_INTERIM_ANSWERS = 16  # with a status 1xx
_EXCERPT_BYTES = 4096  # of the body of an answer that is refused
_SWITCHING_PROTOCOLS, _NO_CONTENT, _NOT_MODIFIED = 101, 204, 304


class HttpFault(WireFault):
    """What the server sent is not HTTP/1.1."""

    @property
    def cause(self) -> str:
        return f"HTTP/1.1 broken: {self}"


class Answer:
    """The answer to one request. `feed` appends its messages to `messages`; `end` is set when it has ended.

    The messages of a streamed answer are its events; any other answer has one, its body. A status other than 2xx has none."""

    __slots__ = (
        "_body",
        "_chunk_ended",
        "_head",
        "_head_bytes",
        "_interim",
        "_most_bytes",
        "_parser",
        "_silent_bytes",
        "_splitter",
        "_status",
        "_stream_id",
        "_until_close",
        "begun",
        "end",
        "keeps_alive",
        "messages",
    )

    def __init__(self, stream_id: int, most_bytes: int) -> None:
        """A message longer than `most_bytes` ends the answer."""
        self._stream_id, self._most_bytes = stream_id, most_bytes
        self._head: dict[bytes, bytes] = {}
        self._body = bytearray()
        self._splitter: EventSplitter | None = None
        self._status = self._head_bytes = self._silent_bytes = self._interim = 0
        self._until_close = self._chunk_ended = False
        self.begun = self.keeps_alive = False
        self.messages: list[tuple[int, bytes]] = []
        self.end: StreamEnded | None = None
        self._parser: Any = HttpResponseParser(self)

    @property
    def between_chunks(self) -> bool:
        """Whether the next byte begins a chunk that begins an event. To be asked right after a `feed` whose bytes end with an event."""
        return self._chunk_ended and self._splitter is not None and self._splitter.between_events

    def feed(self, data: bytes) -> None:
        """Parse the next bytes. HttpFault if they are not HTTP/1.1, or continue after the answer's end."""
        self.begun = True
        before = self._silent_bytes
        self._silent_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserCallbackError as error:
            if not isinstance(error.__context__, HttpFault):
                raise
            raise error.__context__ from None
        except HttpParserUpgrade as error:
            raise HttpFault("the server switches to another protocol") from error
        except HttpParserError as error:
            begins = "" if self._head_bytes or before else f", it began with {shown(repr(data[:20])[1:])}"
            raise HttpFault(f"{error}{begins}") from error
        if self._silent_bytes > _MOST_HEAD_BYTES:
            raise HttpFault(f"more than {_MOST_HEAD_BYTES} bytes of headers or of a chunk's size")

    def finish(self) -> None:
        """The server closed the connection in order, which is the end of an answer without a length."""
        if self._until_close and not self.end:
            self._complete()

    def release(self) -> None:
        """Drop the parser, whose callbacks refer to the answer: a load runs without garbage collections. No `feed` follows."""
        self._parser = None

    def on_message_begin(self) -> None:
        if self.end:
            raise HttpFault("the server sends bytes after the end of its answer")

    def on_header(self, name: bytes, value: bytes) -> None:
        self._silent_bytes = 0
        self._head_bytes += len(name) + len(value) + _HEADER_FRAME_BYTES
        if self._head_bytes > _MOST_HEAD_BYTES:
            raise HttpFault(f"more than {_MOST_HEAD_BYTES} bytes of headers")
        self._head[name.lower()] = value

    def on_headers_complete(self) -> None:
        self._silent_bytes, self._status = 0, self._parser.get_status_code()
        if self._status == _SWITCHING_PROTOCOLS:
            raise HttpFault("the server switches to another protocol")
        if self._is_interim:
            return
        chunked = b"chunked" in self._head.get(b"transfer-encoding", b"").lower()
        self._until_close = not (chunked or b"content-length" in self._head or self._status in (_NO_CONTENT, _NOT_MODIFIED))
        if self._is_success:
            self._begin_messages()

    def on_body(self, body: bytes) -> None:
        self._silent_bytes, self._chunk_ended = 0, False
        if self.end:
            return
        if self._splitter:
            self._take_events(self._splitter, body)
            return
        self._body += body
        if not self._is_success and len(self._body) > _EXCERPT_BYTES:
            self._refuse()
        elif len(self._body) > self._most_bytes:
            self._fail(f"a message of more than {self._most_bytes} bytes, over the limit {self._most_bytes}")

    def on_chunk_complete(self) -> None:
        self._silent_bytes, self._chunk_ended = 0, True

    def on_message_complete(self) -> None:
        self._silent_bytes = 0
        if self._is_interim:
            self._interim += 1
            if self._interim > _MOST_INTERIM_ANSWERS:
                raise HttpFault("the server sends interim answers without end")
            self._head.clear()
        elif not self.end:
            self.keeps_alive = self._parser.should_keep_alive()
            self._complete()

    @property
    def _is_interim(self) -> bool:
        return self._status < 200

    @property
    def _is_success(self) -> bool:
        return 200 <= self._status < 300

    def _begin_messages(self) -> None:
        encoding = self._head.get(b"content-encoding", b"identity").strip().lower()
        if encoding not in (b"identity", b""):
            self._fail(f"an answer with Content-Encoding {shown(encoding.decode('latin-1'), 40)}, although none was asked for")
        elif self._head.get(b"content-type", b"").lower().lstrip().startswith(b"text/event-stream"):
            self._splitter = EventSplitter(self._most_bytes)

    def _take_events(self, splitter: EventSplitter, body: bytes) -> None:
        try:
            self.messages += [(self._stream_id, event) for event in splitter.take(body)]
        except OverlongEventError as error:
            self.messages += [(self._stream_id, event) for event in error.events]
            self._fail(str(error))

    def _complete(self) -> None:
        if self._splitter:
            self.messages += [(self._stream_id, event) for event in self._splitter.finish()]
            self.end = StreamEnded(self._stream_id, "OK", "")
        elif self._is_success and not is_page(self._head):
            self.messages.append((self._stream_id, bytes(self._body)))
            self.end = StreamEnded(self._stream_id, "OK", "")
        else:
            self._refuse()

    def _refuse(self) -> None:
        self.end = refusal(self._stream_id, self._status, self._head, bytes(self._body[:_EXCERPT_BYTES]))

    def _fail(self, text: str) -> None:
        self.end, self.keeps_alive = StreamEnded(self._stream_id, "INTERNAL", text), False
