"""What reads one format of input files, and what it makes of a row: a conversation of a dataset, or a request of a trace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from trtbench.plan.sources.prompt_source import TokenIds

BLOCK_TOKENS = 512
"""The prompt tokens of a hash id, if the lengths do not determine them (Qin et al., Mooncake, FAST 2025)."""


class RowError(Exception):
    """A row that is left out. The message is the reason, which is the same text for all rows with the same reason."""


class RawTurn(NamedTuple):
    """A turn as in the file: text or token ids, and the text or length of the answer, or None if the file has neither."""

    prompt: str | list[int]
    answer: str | int | None = None


RawConversation = tuple[RawTurn, ...]
"""A single prompt is a conversation of one turn."""


@dataclass(frozen=True)
class TracedRequest:
    """A request of a trace. `time_ns` is on the trace's own clock. `hash_ids` is empty and `input_ids` is None if the row has none.

    A hash id represents `block_tokens`; tokens after the last id belong to this request only.
    """

    time_ns: int
    input_tokens: int
    output_tokens: int
    hash_ids: tuple[int, ...] = ()
    input_ids: TokenIds | None = None
    block_tokens: int = BLOCK_TOKENS


def _itself(row: Any) -> Iterator[Any]:
    yield row


@dataclass(frozen=True)
class Reader:
    """One format. A row is any JSON value; of a table, an object of texts by the names of the columns.

    `recognises` says whether a row looks like one of this format. `requests_in` yields the requests that a row contains. `conversation`
    (of a dataset) and `request` (of a trace) raise RowError for a row that cannot be used; None means that the format does not have it.
    `columns` are those that a table of this format has; () for JSON. `notes` are the units, what the format lacks and what is not used.
    """

    name: str
    recognises: Callable[[Any], bool]
    notes: tuple[str, ...]
    conversation: Callable[[Any], RawConversation] | None = None
    request: Callable[[Any], TracedRequest] | None = None
    requests_in: Callable[[Any], Iterator[Any]] = _itself
    columns: tuple[str, ...] = ()
