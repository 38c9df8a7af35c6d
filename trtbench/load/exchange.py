"""Exchange: one request in flight on a stream of our own transport, from its sending to its end."""

from __future__ import annotations

import asyncio
from array import array

from trtbench.clock import NS_PER_S
from trtbench.load.client import Limits
from trtbench.load.errors import classify, end, end_with_status
from trtbench.load.messages import Response, decode_response
from trtbench.load.pool import Stream
from trtbench.load.token_template import TokenTemplate, token_template
from trtbench.load.wire import StreamEnded
from trtbench.records import Outcome, RequestRecord

_LONGEST_LAG_NS = 2**31 - 1  # of an array("i"): a lag of more than 2 s is given as that
_NO_LIMIT = 1 << 62


class Exchange:
    """What has come lies in arrays until the end and only then becomes the record's lists: a fifth of the memory.

    `over` is done at the end. `refused`: the server surely never saw the request, which can be sent again as if nothing had been.
    """

    __slots__ = (
        "_coalesced",
        "_count",
        "_count_changes",
        "_limits",
        "_link",
        "_most_tokens",
        "_record",
        "_running",
        "_stream_id",
        "_template",
        "_timer",
        "_token_ids",
        "_token_lag_ns",
        "_token_ns",
        "over",
        "refused",
    )

    def __init__(self, record: RequestRecord, limits: Limits) -> None:
        self._record, self._limits = record, limits
        self._most_tokens = _NO_LIMIT if limits.cancel_after_tokens is None else limits.cancel_after_tokens
        self._token_ns, self._token_lag_ns = array("q"), array("i")
        self._token_ids, self._coalesced = array("i"), array("i")
        self._count = 0  # tokens of the last response: a server hardly ever changes them
        self._count_changes: list[tuple[int, int]] = []  # (response, tokens from there on)
        self._template: TokenTemplate | None = None
        self.over: asyncio.Future[None]
        self.refused = False

    def send(self, stream: Stream, message: bytes) -> None:
        loop = asyncio.get_running_loop()
        self.over, self.refused, self._running = loop.create_future(), False, True
        self._link, self._stream_id = stream
        sent_ns = self._link.send(self._stream_id, message, self)
        if self._record.sent_ns is None:  # one that was refused has been under way since its first sending
            self._record.sent_ns = sent_ns
        until_ns, outcome, error = self._limits.end_of_patience(self._record.sent_ns)
        self._timer = loop.call_later((until_ns - sent_ns) / NS_PER_S, self.give_up, outcome, error)

    def take(self, message: bytes, arrived_ns: int, lag_ns: int | None, alone: bool) -> None:
        template, response = self._template, None
        if (
            template is not None
            and len(message) == template.size
            and message.startswith(template.prefix)
            and message.endswith(template.suffix)
        ):
            tokens = template.tokens
            self._token_ids.frombytes(message[template.start : template.stop])
        else:
            response = self._decode(message)
            tokens = len(response.tokens)
            self._token_ids.extend(response.tokens)
        if tokens:
            if not alone:
                self._coalesced.append(len(self._token_ns))
            if tokens != self._count:
                self._count = tokens
                self._count_changes.append((len(self._token_ns), tokens))
            self._token_ns.append(arrived_ns)
            if lag_ns is not None:
                self._token_lag_ns.append(lag_ns if lag_ns < _LONGEST_LAG_NS else _LONGEST_LAG_NS)
        if response is not None and (response.error or response.final):
            self._conclude(response, arrived_ns)
        elif len(self._token_ids) >= self._most_tokens:
            self.give_up(Outcome.CANCELLED, self._limits.tokens_reached(len(self._token_ids)))

    def stream_ended(self, stream_end: StreamEnded) -> None:
        self.refused = stream_end.retry_safe and not self._token_ns
        end_with_status(self._record, stream_end.status, stream_end.message)
        self._finish()

    def connection_lost(self, cause: str) -> None:
        end(self._record, Outcome.CONNECTION, cause)
        self._finish()

    def give_up(self, outcome: Outcome, error: str) -> None:
        """End it from our side, on the server too; nothing when it is over."""
        if not self._running:
            return
        end(self._record, outcome, error)
        self._finish()
        self._link.reset(self._stream_id)

    def _decode(self, message: bytes) -> Response:
        """A message of an unknown form: a request's first, its last, an error."""
        try:
            response = decode_response(message)
        except ValueError as error:
            return Response(error=str(error))
        self._template = token_template(message, response) or self._template
        self._record.server = response.times or self._record.server
        self._record.model_version = response.model_version or self._record.model_version
        return response

    def _conclude(self, response: Response, arrived_ns: int) -> None:
        """The server's last word."""
        if response.error:
            end(self._record, classify("", response.error), response.error, arrived_ns)
            self._finish()
            self._link.reset(self._stream_id)
        else:
            end(self._record, Outcome.COMPLETED, "", arrived_ns)
            self._finish()
            self._link.release(self._stream_id)

    def _finish(self) -> None:
        """Put what came into the record, which knows its outcome."""
        record = self._record
        record.token_ns, record.token_lag_ns = self._token_ns.tolist(), self._token_lag_ns.tolist()
        record.output_ids, record.coalesced = self._token_ids.tolist(), self._coalesced.tolist()
        record.token_counts = []
        for response, tokens in reversed(self._count_changes):
            record.token_counts = [tokens] * (len(record.token_ns) - len(record.token_counts) - response) + record.token_counts
        self._running = False
        self._timer.cancel()
        if not self.over.done():  # it is when the one who waited was cancelled
            self.over.set_result(None)
