"""The fast path of further tokens: a read that holds one request's next token and nothing else is taken by its bytes alone.

A client that wakes for each token runs on cold caches: what such a read costs is what it touches. So neither HTTP/2 nor protobuf is parsed.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator

from trtbench.client.http2.frames import DATA
from trtbench.client.kserve.messages import Response

_INFER_RESPONSE = 2  # of ModelStreamInferResponse
_OUTPUTS, _RAW_OUTPUT_CONTENTS = 5, 6  # of ModelInferResponse
_NAME = 1  # of ModelInferResponse.InferOutputTensor
_LENGTH_DELIMITED = 2
_LONGEST_BYTES = 1024  # of a message; a request keeps its template
_FIXED_BYTES = {1: 8, 5: 4}  # by wire type


class TokenTemplate:
    """Knows further token responses of one request by their bytes: they differ in the token ids only.

    Bytes equal but for the inside of one protobuf field of equal length are the same message but for that field: such a message is no
    final response and carries the ids of its window `[start, stop)`, as int32.
    """

    __slots__ = ("prefix", "size", "start", "stop", "suffix", "tokens")

    def __init__(self, message: bytes, start: int, stop: int) -> None:
        self.size, self.start, self.stop = len(message), start, stop
        self.prefix, self.suffix = message[:start], message[stop:]
        self.tokens = (stop - start) // 4


def token_template(message: bytes, response: Response) -> TokenTemplate | None:
    """From a token response and what it was decoded to; None for one with more to say, or whose ids lie otherwise."""
    if response.final or response.error or response.times or not response.tokens or len(message) > _LONGEST_BYTES:
        return None
    outer = list(_fields(message, 0, len(message)))
    if len(outer) != 1 or outer[0][0] != _INFER_RESPONSE:
        return None
    fields = list(_fields(message, *outer[0][1:]))
    names = [_tensor_name(message, start, stop) for number, start, stop in fields if number == _OUTPUTS]
    data = [(start, stop) for number, start, stop in fields if number == _RAW_OUTPUT_CONTENTS]
    if names.count(b"output_ids") != 1 or len(names) != len(data):
        return None
    start, stop = data[names.index(b"output_ids")]
    return TokenTemplate(message, start, stop) if stop - start == 4 * len(response.tokens) else None


def _tensor_name(message: bytes, start: int, stop: int) -> bytes:
    return b"".join(message[begin:end] for number, begin, end in _fields(message, start, stop) if number == _NAME)


def _fields(message: bytes, at: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """(number, start, stop) of each length-delimited field of a protobuf that protobuf itself has read without an error."""
    while at < stop:
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _LENGTH_DELIMITED:
            length, at = _varint(message, at)
            yield tag >> 3, at, at + length
            at += length
        elif kind in _FIXED_BYTES:
            at += _FIXED_BYTES[kind]
        elif kind == 0:
            _, at = _varint(message, at)
        else:  # groups, which this protocol has none of
            return


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """The number and where it ends."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


LONGEST_LAG_NS = 2**31 - 1
"""Of an array("i"): a lag of more than 2 s is given as that."""
_PREFIX_BYTES = 5  # of a message: compressed flag, length
_HEAD = struct.Struct(">IBIBI")
"""A frame's length and kind, flags, stream; a message's compressed flag and length."""


class NextTokenRead:
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

    def take_read(self, data: bytearray, size: int, arrived_ns: int, lag_ns: int | None) -> bool:
        """Whether the first `size` bytes of `data` are such a read; then it has been taken. `lag_ns` None: without kernel stamps."""
        if size != self._size or not data.startswith(self._head) or not data.endswith(self._tail, 0, size):
            return False
        self._add_id_bytes(data[self._start : self._stop])
        self._add_stamp(arrived_ns)
        if lag_ns is not None:
            self._add_lag(lag_ns if lag_ns < LONGEST_LAG_NS else LONGEST_LAG_NS)
        self.taken += 1
        return True
