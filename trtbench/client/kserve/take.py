"""One message of a request's stream: what it says of the request, and what it brings."""

from __future__ import annotations

from trtbench.client.kserve.bounds import input_count_beyond, most_text_bytes, output_count_beyond
from trtbench.client.kserve.echo import without_echo
from trtbench.client.kserve.messages import Response, decode_response
from trtbench.rundir.records import RequestRecord


def read_response(record: RequestRecord, message: bytes, sent: bytes, started: bool, accumulates: bool) -> tuple[Response, bool]:
    """(A message's response less the prompt, whether it brings output). What it says of the request as a whole goes into the record.

    Output is a token or text of its own, or an empty piece of text once there was some (`started`). Decoding here costs 10 us a message
    while nothing waits. Kept for after the last message it would be a millisecond of a busy loop just when the user's next request is due.
    """
    try:
        response = decode_response(message)
    except ValueError as error:
        return Response(error=f"malformed response: {error}"), False
    asked = record.asked_output_tokens
    if beyond := output_count_beyond(response.told_tokens or 0, asked) or input_count_beyond(response.input_tokens or 0, len(sent)):
        return Response(error=f"malformed response: {beyond}"), False
    before = len(record.output_text)
    keep_text(record, response, most_text_bytes(asked, len(sent)), accumulates)
    if accumulates and response.text and len(record.output_text) == before:
        response = response._replace(text=b"")  # nothing new
    if response.carries and not started:
        response = without_echo(response, sent, record)
    record.finish_reason = response.finish_reason or record.finish_reason
    record.input_tokens = response.input_tokens or record.input_tokens
    record.server = response.times or record.server
    record.engine = response.counts or record.engine
    record.model_version = response.model_version or record.model_version
    return response, response.carries or (started and response.is_empty_piece)


def keep_text(record: RequestRecord, response: Response, most_bytes: int, accumulates: bool) -> None:
    """Text of an unknown number of tokens is kept, to be counted when the load is over; where the server tells, it is not.

    A piece may end amid a character: bytes that are no UTF-8 yet are kept as they are until `whole_text`.
    """
    if response.text and response.told_tokens is None:
        text = response.text[:most_bytes].decode("utf-8", "surrogateescape")
        record.output_text = text if accumulates else (record.output_text + text)[:most_bytes]


def whole_text(record: RequestRecord) -> None:
    """Once the request is over: what is no UTF-8 is replaced."""
    if record.output_text:
        record.output_text = record.output_text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
