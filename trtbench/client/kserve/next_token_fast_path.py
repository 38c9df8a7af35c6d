"""The fast path of further tokens: a read that contains exactly one request's next token is recognised by its bytes.

Neither HTTP/2 nor protobuf is parsed then. A client that wakes for each token runs with cold CPU caches, so a read costs as much as the
memory that it touches.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator

from trtbench.client.answer_bounds import LONGEST_LAG_NS
from trtbench.client.http2.frames import DATA
from trtbench.client.kserve.messages import Response

_INFER_RESPONSE = 2  # field of ModelStreamInferResponse
_OUTPUTS, _RAW_OUTPUT_CONTENTS = 5, 6  # fields of ModelInferResponse
_NAME = 1  # field of ModelInferResponse.InferOutputTensor
_LENGTH_DELIMITED = 2
_LONGEST_BYTES = 1024  # the longest message of which a request keeps a template
_FIXED_BYTES = {1: 8, 5: 4}  # length by wire type


class TokenTemplate:
    """Recognises further responses of one request by their bytes, which differ only in the token ids.

    Two protobuf messages of the same length whose bytes differ only inside one field are equal except for that field. So a message with
    this prefix and suffix is not a final response, and its token ids are the int32 values in the bytes `[start, stop)`.
    """

    __slots__ = ("prefix", "size", "start", "stop", "suffix", "tokens")

    def __init__(self, message: bytes, start: int, stop: int) -> None:
        self.size, self.start, self.stop = len(message), start, stop
        self.prefix, self.suffix = message[:start], message[stop:]
        self.tokens = (stop - start) // 4


def token_template(message: bytes, response: Response) -> TokenTemplate | None:
    """The template of a response with tokens and its decoded form; None if it contains more, or if its ids are stored in another way."""
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
    """(Number, start, stop) of each length-delimited field of a message that protobuf itself has parsed without an error."""
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
        else:  # a group, which KServe's messages do not have
            return


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """(Number, position after it)."""
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


NO_LIMIT = 1 << 62
_PREFIX_BYTES = 5  # the prefix of a gRPC message: compressed flag, length
_HEAD = struct.Struct(">IBIBI")
"""The length and kind, flags and stream of a frame; the compressed flag and length of a message."""


class NextTokenRead:
    """Handles reads that contain exactly the next token of one request, and adds them to its arrays of ids, arrivals and lags.

    It is valid as long as nothing else was read on the connection since the message of `template`, which was complete and in its own frame:
    bytes that differ from that read only in the token ids would be parsed to the same result except for the ids.
    """

    __slots__ = ("_add_id_bytes", "_add_lag", "_add_stamp", "_head", "_most", "_size", "_start", "_stop", "_tail", "stream_id", "taken")

    def __init__(
        self, stream_id: int, template: TokenTemplate, ids: array[int], arrivals_ns: array[int], lags_ns: array[int], most: int = NO_LIMIT
    ) -> None:
        """It handles at most `most` reads."""
        head = _HEAD.pack((template.size + _PREFIX_BYTES) << 8 | DATA, 0, stream_id, 0, template.size)
        self._head, self._tail, self._size = head + template.prefix, template.suffix, len(head) + template.size
        self._start, self._stop = len(head) + template.start, len(head) + template.stop
        self._add_id_bytes, self._add_stamp, self._add_lag = ids.frombytes, arrivals_ns.append, lags_ns.append
        self.stream_id = stream_id
        self.taken, self._most = 0, most

    @property
    def flow_bytes(self) -> int:
        """The flow-controlled bytes that were read here."""
        return self.taken * (self._size - _HEAD.size + _PREFIX_BYTES)

    def take_read(self, data: bytearray, size: int, arrived_ns: int, lag_ns: int | None) -> bool:
        """Record the first `size` bytes of `data` if they are such a read; returns whether they are.

        `lag_ns` is None without kernel timestamps."""
        if size != self._size or self.taken == self._most or not data.startswith(self._head) or not data.endswith(self._tail, 0, size):
            return False
        self._add_id_bytes(data[self._start : self._stop])
        self._add_stamp(arrived_ns)
        if lag_ns is not None:
            self._add_lag(lag_ns if lag_ns < LONGEST_LAG_NS else LONGEST_LAG_NS)
        self.taken += 1
        return True
