"""EventSplitter: the events in the body of a streamed answer (server-sent events), which may be cut anywhere.

Source: the WHATWG HTML standard, section "Server-sent events". Of an event only its data counts here: OpenAI's API and Triton's
generate_stream send nothing else.
"""

from __future__ import annotations

_BOM = b"\xef\xbb\xbf"
_FIELD = b"data: "


class OverlongEventError(Exception):
    """An event, complete or not, is longer than it may be. `events` are those before it in the same bytes."""

    def __init__(self, most_bytes: int, events: list[bytes]) -> None:
        super().__init__(f"a message of more than {most_bytes} bytes, over the limit {most_bytes}")
        self.events = events


class EventSplitter:
    """Splits a body into the data of its events. Lines end with LF, CRLF or CR; an event ends with an empty line.

    Comments, other fields and events without data bring nothing. Data of several lines is joined with LF."""

    __slots__ = ("_at_start", "_most_bytes", "_part", "_skips_lf")

    def __init__(self, most_bytes: int) -> None:
        """An event may have `most_bytes`, with the names of its fields."""
        self._most_bytes = most_bytes
        self._part = bytearray()  # the beginning of an event that is not complete yet, with LF as its only line end
        self._at_start = True  # whether a byte order mark may still come
        self._skips_lf = False  # whether the last byte was CR, so that LF next to it ends no further line

    @property
    def between_events(self) -> bool:
        """Whether the next byte begins an event, and so a body like the last one can be taken as in `take`."""
        return not self._part and not self._skips_lf and not self._at_start

    def take(self, body: bytes) -> list[bytes]:
        """The data of each event that is complete with the next bytes of the body. OverlongEventError if one is too long."""
        if self._at_start:
            body = self._without_mark(body)
        if self._skips_lf or b"\r" in body:
            body = self._with_lf(body)
        if self._part:
            body = self._joined(body)
        elif body.endswith(b"\n\n") and body.startswith(_FIELD) and body.count(b"\n") == 2 and len(body) <= self._most_bytes:
            return [body[len(_FIELD) : -2]]  # the usual body: exactly one event
        *blocks, part = body.split(b"\n\n")
        events: list[bytes] = []
        for block in blocks:
            self._check(block, self._most_bytes, events)
            if block.startswith(_FIELD) and b"\n" not in block:
                events.append(block[len(_FIELD) :])
            elif (data := _data_of(block)) is not None:
                events.append(data)
        self._part += part
        self._check(self._part, self._most_bytes + 1, events)  # its last byte may be half of the empty line
        return events

    def finish(self) -> list[bytes]:
        """The last event, if the body ended in order without the empty line after it: some servers leave that out."""
        block = bytes(self._part)
        self._part.clear()
        self._check(block.rstrip(b"\n"), self._most_bytes, [])
        data = _data_of(block)
        return [] if data is None else [data]

    def _joined(self, body: bytes) -> bytes:
        """The part that is kept with the next bytes, or nothing while they complete no event. Each byte is searched once."""
        searched = max(len(self._part) - 1, 0)
        self._part += body
        if self._part.find(b"\n\n", searched) < 0:
            return b""
        joined = bytes(self._part)
        self._part.clear()
        return joined

    def _check(self, block: bytes | bytearray, most_bytes: int, events: list[bytes]) -> None:
        if len(block) > most_bytes:
            raise OverlongEventError(self._most_bytes, events)

    def _without_mark(self, body: bytes) -> bytes:
        """The body without a byte order mark at its beginning; nothing while all of it may be part of one."""
        body = bytes(self._part) + body
        self._part.clear()
        if len(body) < len(_BOM) and _BOM.startswith(body):
            self._part += body
            return b""
        self._at_start = False
        return body.removeprefix(_BOM)

    def _with_lf(self, body: bytes) -> bytes:
        """The body with LF as its only line end. CR ends a line at once, so LF after it is left out, also in the next body."""
        if body and self._skips_lf:
            body, self._skips_lf = body.removeprefix(b"\n"), False
        if body:
            self._skips_lf = body.endswith(b"\r")
        return body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _data_of(block: bytes) -> bytes | None:
    """The data of an event by its lines, or None if it has none."""
    lines = []
    for line in block.split(b"\n"):
        name, colon, value = line.partition(b":")
        if name == b"data":
            lines.append(value.removeprefix(b" ") if colon else b"")
    return b"\n".join(lines) if lines else None
