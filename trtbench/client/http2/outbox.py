"""Outbox: the bytes to be sent, and the peer's flow-control windows, which hold messages back (RFC 9113, section 5.2)."""

from __future__ import annotations

from trtbench.client.http2.frames import DATA, DEFAULT_WINDOW_BYTES, END_STREAM, HEADER, MAX_FRAME_BYTES, MAX_WINDOW_BYTES


class Outbox:
    """Frames are sent in the order in which they were written. Messages that a window holds back follow when it opens, in the order of each
    stream."""

    __slots__ = ("_connection_window", "_ending", "_held", "_initial_window", "_output", "_windows", "max_frame_bytes", "reply_bytes")

    def __init__(self) -> None:
        self.max_frame_bytes = MAX_FRAME_BYTES  # the peer's limit
        self.reply_bytes = 0  # bytes of replies to PING and SETTINGS since the caller last set it to 0
        self._output = bytearray()
        self._connection_window = self._initial_window = DEFAULT_WINDOW_BYTES
        self._windows: dict[int, int] = {}  # by stream, until its end is sent; a setting can make a window negative
        self._held: dict[int, bytearray] = {}
        self._ending: set[int] = set()  # streams whose last message is held back

    @property
    def held_bytes(self) -> int:
        return sum(map(len, self._held.values()))

    def write(self, frames: bytes) -> None:
        self._output += frames

    def reply(self, frames: bytes) -> None:
        """Write a reply to a frame of the peer."""
        self.reply_bytes += len(frames)
        self._output += frames

    def take_output(self) -> bytes:
        if not self._output:  # after most reads
            return b""
        output = bytes(self._output)
        self._output.clear()
        return output

    def open(self, stream_id: int) -> None:
        self._windows[stream_id] = self._initial_window

    def accepts(self, stream_id: int) -> bool:
        """Whether more can be sent on a stream."""
        return stream_id in self._windows and stream_id not in self._ending

    def holds(self, stream_id: int) -> bool:
        """Whether part of a message is held back."""
        return stream_id in self._held

    def close(self, stream_id: int) -> bool:
        """Forget a stream and what is held back of it; returns whether its end was not sent yet."""
        self._held.pop(stream_id, None)
        self._ending.discard(stream_id)
        return self._windows.pop(stream_id, None) is not None

    def queue_data(self, stream_id: int, payload: bytes, end_stream: bool) -> None:
        """Queue DATA of an open stream; with `end_stream` it is the last."""
        held = self._held.get(stream_id)
        if held is None:
            held = self._held[stream_id] = bytearray()
        held += payload
        if end_stream:
            self._ending.add(stream_id)
        self._release(stream_id)

    def end(self, stream_id: int) -> None:
        """Send END_STREAM without data, on an open stream of which nothing is held back."""
        self._output += HEADER.pack(DATA, END_STREAM, stream_id)
        self.close(stream_id)

    def grant(self, stream_id: int, increment: int) -> bool:
        """Enlarge the window of a stream, or of the connection for 0; returns False if it would exceed the largest window allowed."""
        window = self._windows.get(stream_id) if stream_id else self._connection_window
        if window is None:  # the end of the stream has been sent
            return True
        if window + increment > MAX_WINDOW_BYTES:
            return False
        if stream_id:
            self._windows[stream_id] = window + increment
            self._release(stream_id)
        else:
            self._connection_window = window + increment
            self._release_all()
        return True

    def set_initial_window(self, window_bytes: int) -> bool:
        """Apply the peer's INITIAL_WINDOW_SIZE, also to open streams; returns False if a window would exceed the largest allowed."""
        change = window_bytes - self._initial_window
        self._initial_window = window_bytes
        for stream_id in self._windows:
            self._windows[stream_id] += change
        if max(self._windows.values(), default=0) > MAX_WINDOW_BYTES:
            return False
        self._release_all()
        return True

    def _release_all(self) -> None:
        for stream_id in list(self._held):
            self._release(stream_id)

    def _release(self, stream_id: int) -> None:
        """Move as much of a stream's held data into the output as the windows allow."""
        held = self._held.get(stream_id)
        if held is None:
            return
        while held:
            size = min(len(held), self.max_frame_bytes, self._windows[stream_id], self._connection_window)
            if size <= 0:
                return
            last = size == len(held) and stream_id in self._ending
            self._output += HEADER.pack(size << 8 | DATA, END_STREAM if last else 0, stream_id)
            self._output += held[:size]
            del held[:size]
            self._windows[stream_id] -= size
            self._connection_window -= size
        del self._held[stream_id]
        if stream_id in self._ending:
            self.close(stream_id)
