"""TokenAccount: the arrivals and the tokens of one answer, by the best source that the server offers."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Mapping

from trtbench.client.answer_bounds import LONGEST_LAG_NS, most_ids
from trtbench.client.openai.answer_events import MOST_COUNT, Piece
from trtbench.client.openai.request_shape import CountSource
from trtbench.rundir.records import RequestRecord

TokensIn = Callable[[Piece, int], int]
"""The tokens of a piece, given the number of all before it."""

_TOKENS_IN: Mapping[CountSource, TokensIn] = {
    "token_ids": lambda piece, before: len(piece.ids),
    "running_usage": lambda piece, before: 0 if piece.total_tokens is None else max(0, piece.total_tokens - before),
    "own_count": lambda piece, before: piece.own_tokens or 0,
}
"""The sources that count each event. The others count the whole answer, when it is over."""


class TokenAccount:
    """Arrivals of the events that carry tokens. A role, an empty text before the first token and a usage alone carry none."""

    __slots__ = (
        *("_accumulated", "_accumulates", "_coalesced", "_counts", "_ids", "_lags_ns", "_most_ids", "_most_text", "_prompt_tokens"),
        *("_reasoned", "_saw_content", "_saw_reasoning", "_source", "_text", "_tokens_in", "_total_tokens"),
        *("arrivals_ns", "last_tokens", "tokens"),
    )

    def __init__(self, source: CountSource, asked_tokens: int, most_text: int, accumulates: bool = False) -> None:
        """`most_text`: how many characters of the output are kept if nothing counts its tokens. `accumulates`: see OpenaiTarget."""
        self._source, self._tokens_in = source, _TOKENS_IN.get(source)
        self._most_ids, self._most_text, self._accumulates = most_ids(asked_tokens), most_text, accumulates
        self.arrivals_ns, self._lags_ns = array("q"), array("i")
        self._ids, self._counts, self._coalesced = array("i"), array("i"), array("i")
        self._text: list[str] = []
        self._accumulated = ""
        self._total_tokens: int | None = None
        self._prompt_tokens: int | None = None
        self._reasoned = 0
        self._saw_content = self._saw_reasoning = False
        self.tokens = 0
        """The tokens so far; with a source that counts only the whole answer, the events with text so far."""
        self.last_tokens = 0  # of the last event with any

    def take(self, piece: Piece, arrived_ns: int, lag_ns: int | None, alone: bool) -> None:
        """Add one event. One that was not `alone` in its read has the timestamp of the last event of that read."""
        if piece.total_tokens is not None:
            self._total_tokens = piece.total_tokens
        if piece.prompt_tokens is not None:
            self._prompt_tokens = piece.prompt_tokens
        text = self._new_text(piece)
        if self._tokens_in:
            tokens = self._tokens_in(piece, self.tokens)
            if not tokens:
                return
            self._counts.append(min(tokens, MOST_COUNT))
            self._ids.extend(piece.ids[: max(0, self._most_ids - len(self._ids))])
        elif text or piece.reasoning or (self.arrivals_ns and piece.text is not None and not piece.finish_reason):
            tokens = 1  # or more; an empty text after the first is a token that ends inside a character
            self._keep_text(piece.reasoning, text)
        else:
            return
        self.tokens += tokens
        self.last_tokens = tokens
        self._take_reasoning(piece, text)
        if not alone:
            self._coalesced.append(len(self.arrivals_ns))
        self.arrivals_ns.append(arrived_ns)
        if lag_ns is not None:
            self._lags_ns.append(min(lag_ns, LONGEST_LAG_NS))

    def fault(self, most_prompt_tokens: int) -> str:
        """What is impossible in the counts that the server reports; empty if nothing is."""
        if self.tokens > self._most_ids or (self._total_tokens or 0) > self._most_ids:
            return f"the server counts {max(self.tokens, self._total_tokens or 0)} output tokens: out of range, 0 to {self._most_ids}"
        if (self._prompt_tokens or 0) > most_prompt_tokens:
            return f"the server counts {self._prompt_tokens} tokens in the prompt: out of range, 0 to {most_prompt_tokens}"
        return ""

    def write_to(self, record: RequestRecord) -> None:
        """Copy what has arrived into the record of the request, which is over."""
        record.token_ns, record.token_lag_ns = self.arrivals_ns.tolist(), self._lags_ns.tolist()
        record.output_ids, record.coalesced = self._ids.tolist(), self._coalesced.tolist()
        if self._prompt_tokens and self._prompt_tokens != record.input_tokens:
            record.planned_input_tokens, record.input_tokens = record.input_tokens, self._prompt_tokens
        record.reasoning_responses = self._reasoned
        if self._tokens_in:
            record.token_counts = self._counts.tolist()
            return
        total = self._total_tokens or 0
        record.token_counts = spread(total, len(record.token_ns))
        record.output_text = "" if total else "".join(self._text)

    def _new_text(self, piece: Piece) -> str:
        """The text of a piece; empty if it is the text so far and nothing was added to it."""
        text = piece.text or ""
        if self._accumulates:
            before, self._accumulated = self._accumulated, text or self._accumulated
            return "" if text == before else text
        return text

    def _keep_text(self, *texts: str) -> None:
        if self._accumulates:  # the end of the text so far may change: it may be a part of a character
            self._text = [self._accumulated[: self._most_text]]
        elif self._most_text > 0:
            self._text += texts
            self._most_text -= sum(map(len, texts))

    def _take_reasoning(self, piece: Piece, text: str) -> None:
        """Count the events before the first content, if they carry reasoning."""
        self._saw_reasoning = self._saw_reasoning or bool(piece.reasoning)
        self._saw_content = self._saw_content or bool(text)
        if self._saw_reasoning and not self._saw_content:
            self._reasoned += 1


def spread(tokens: int, events: int) -> list[int]:
    """The tokens of each event, as even as possible, where only their sum is known. The first event has one token at least, if any has."""
    return [-(-(i + 1) * tokens // events) + (-i * tokens // events) for i in range(events)]
