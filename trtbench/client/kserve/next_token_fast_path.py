"""UsualRead: takes a read that holds one request's next token and nothing else by its bytes alone, past HTTP/2 and protobuf.

A client that wakes for each token runs on cold caches: what such a read costs is what it touches.
"""

from __future__ import annotations

import struct
from array import array

from trtbench.client.http2.frames import DATA
from trtbench.client.kserve.token_template import TokenTemplate

LONGEST_LAG_NS = 2**31 - 1
"""Of an array("i"): a lag of more than 2 s is given as that."""
_PREFIX_BYTES = 5  # of a message: compressed flag, length
_HEAD = struct.Struct(">IBIBI")
"""A frame's length and kind, flags, stream; a message's compressed flag and length."""


class UsualRead:
    """For as long as nothing else was read on the connection since a message that `template` is of, whole, in a frame of its own.

    Bytes equal to those but for the token ids are then parsed to the same but for the ids. What is taken goes into the three arrays:
    ids, arrivals, lags.
    """

    __slots__ = ("_add_id_bytes", "_add_lag", "_add_stamp", "_head", "_size", "_start", "_stop", "_tail", "stream_id", "taken")

    def __init__(self, stream_id: int, template: TokenTemplate, ids: array[int], arrivals_ns: array[int], lags_ns: array[int]) -> None:
        head = _HEAD.pack((template.size + _PREFIX_BYTES) << 8 | DATA, 0, stream_id, 0, template.size)
        self._head, self._tail, self._size = head + template.prefix, template.suffix, len(head) + template.size
        self._start, self._stop = len(head) + template.start, len(head) + template.stop
        self._add_id_bytes, self._add_stamp, self._add_lag = ids.frombytes, arrivals_ns.append, lags_ns.append
        self.stream_id = stream_id
        self.taken = 0

    @property
    def flow_bytes(self) -> int:
        """What was taken of the receive windows."""
        return self.taken * (self._size - _HEAD.size + _PREFIX_BYTES)

    def take(self, data: bytearray, size: int, arrived_ns: int, lag_ns: int | None) -> bool:
        """Whether the first `size` bytes of `data` are such a read; then it has been taken. `lag_ns` None: without kernel stamps."""
        if size != self._size or not data.startswith(self._head) or not data.endswith(self._tail, 0, size):
            return False
        self._add_id_bytes(data[self._start : self._stop])
        self._add_stamp(arrived_ns)
        if lag_ns is not None:
            self._add_lag(lag_ns if lag_ns < LONGEST_LAG_NS else LONGEST_LAG_NS)
        self.taken += 1
        return True
