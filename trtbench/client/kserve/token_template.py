"""TokenTemplate: tells a request's further token responses by their bytes, without protobuf."""

from __future__ import annotations

from collections.abc import Iterator

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
