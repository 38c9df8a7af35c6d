"""One message of a request's stream, put into its record."""

from __future__ import annotations

from trtbench.load.echo import without_echo
from trtbench.load.errors import classify, end, end_with_final
from trtbench.load.messages import Response, decode_response
from trtbench.records import RequestRecord


def take_response(record: RequestRecord, arrived_ns: int, message: bytes, sent: bytes, accumulates: bool = False) -> None:
    """Put one message into the record of the request `sent`, which has its `done_ns` when the request is over.

    `accumulates`: each response carries all the text so far.

    Decoding here costs 10 us a message while nothing waits. Kept for after the last message it would be a millisecond of a busy
    loop just when the user's next request is due.
    """
    try:
        response = decode_response(message)
    except ValueError as error:
        response = Response(error=str(error))
    keep_text(record, response, accumulates)
    if response.carries and not record.token_ns:
        response = without_echo(response, sent, record)
    if response.carries:
        record.token_ns.append(arrived_ns)
        record.token_counts.append(response.new_tokens)
        record.output_ids += response.tokens
    record.finish_reason = response.finish_reason or record.finish_reason
    record.input_tokens = response.input_tokens or record.input_tokens
    record.server = response.times or record.server
    record.engine = response.counts or record.engine
    record.model_version = response.model_version or record.model_version
    if response.error:
        end(record, classify("", response.error), response.error, arrived_ns)
    elif response.final:
        end_with_final(record, bool(record.token_ns), arrived_ns)


def keep_text(record: RequestRecord, response: Response, accumulates: bool) -> None:
    """Text of an unknown number of tokens is kept, to be counted when the load is over; where the server tells, it is not."""
    if response.text and response.told_tokens is None:
        text = response.text.decode("utf-8", "replace")
        record.output_text = text if accumulates else record.output_text + text
