"""The fast path of a streamed answer: reads of whole chunks with one event each, as servers send them, are recognised by their bytes.

Neither a parser of HTTP nor one of event streams sees them then. An event costs 0.5 us, where httptools and the splitter take 1.4 us, and
2.0 us if it is read alone. A client that wakes for each event runs with cold CPU caches, so EventReads only keeps what it reads; it is
decoded later, many events at a time.
"""

from __future__ import annotations

from functools import lru_cache

_END = b"\n\n\r\n"
"""The end of a chunk that ends with an event."""
_LF_BYTES, _CR_BYTES = 4, 2  # of a chunk whose event has one line
_MOST_DIGITS = 8
_BEGIN_BYTES = 8  # by which events with tokens differ from errors, as in {"id": and {"error":


def take_event_chunks(stream_id: int, data: bytes) -> tuple[list[tuple[int, bytes]], bytes]:
    """The events of `data`, which begins where a chunk and an event may begin, and the rest of it, which is to be parsed.

    All but the rest are chunks with exactly one event of one line of data each. Without such chunks all is rest.
    """
    heads = _heads(len(data) - len(_END))
    if data.startswith(heads) and data.endswith(_END) and data.count(b"\n") == _LF_BYTES and data.count(b"\r") == _CR_BYTES:
        return [(stream_id, data[len(heads[0]) : -len(_END)])], b""  # the usual read
    *chunks, rest = data.split(_END)
    end = len(data) - len(rest)
    if data.count(b"\n", 0, end) != _LF_BYTES * len(chunks) or data.count(b"\r", 0, end) != _CR_BYTES * len(chunks):
        return [], data
    events = []
    for chunk in chunks:
        heads = _heads(len(chunk))
        if not chunk.startswith(heads):
            return [], data
        events.append((stream_id, chunk[len(heads[0]) :]))
    return events, rest


class EventReads:
    """A DirectRead of one answer that keeps reads of exactly one event, up to `most` of them, to be decoded later.

    It takes only events that begin as an earlier one of the answer, `like`: errors begin in another way, and are decoded at once.
    """

    __slots__ = ("_begin", "_most", "kept", "stream_id")

    flow_bytes = 0  # HTTP/1.1 has no flow control of its own

    def __init__(self, stream_id: int, like: bytes, most: int) -> None:
        self.stream_id, self._begin, self._most = stream_id, like[:_BEGIN_BYTES], most
        self.kept: list[tuple[bytearray, int, int | None]] = []
        """Each event, its arrival, and how much later it was read."""

    def take_read(self, data: bytearray, size: int, arrived_ns: int, lag_ns: int | None) -> bool:
        heads = _heads(size - len(_END))
        start = len(heads[0])
        if (
            len(self.kept) >= self._most
            or not data.startswith(heads)
            or not data.startswith(self._begin, start)
            or not data.endswith(_END, 0, size)
            or data.count(b"\n", 0, size) != _LF_BYTES
            or data.count(b"\r", 0, size) != _CR_BYTES
        ):
            return False
        self.kept.append((data[start : size - len(_END)], arrived_ns, lag_ns))
        return True


@lru_cache(maxsize=4096)
def _heads(size: int) -> tuple[bytes, bytes]:
    """The beginning of a chunk with `size` bytes before its `_END`, in lower and upper case: its own size, and the name of the field."""
    for digits in range(1, _MOST_DIGITS):
        body_bytes = size - digits  # two bytes less for CRLF, and two more of `_END`
        if len(f"{body_bytes:x}") == digits:
            return b"%x\r\ndata: " % body_bytes, b"%X\r\ndata: " % body_bytes
    return _END, _END  # which no chunk begins with
