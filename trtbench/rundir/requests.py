"""The requests of a deployment as columns, as the analysis reads them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from trtbench.rundir.ragged import Ints, Mask, Ragged
from trtbench.rundir.records import Outcome, RequestRecord
from trtbench.rundir.request_file import RequestFile, one_chunk
from trtbench.rundir.schema import REQUEST_SCHEMA

Column = npt.NDArray[Any]
MISSING = np.iinfo(np.int64).min
"""The value of a column for a request that does not have that instant or number."""


@dataclass(frozen=True, slots=True)
class Texts:
    """A column of texts with repetitions: codes [n] into `values`."""

    codes: npt.NDArray[np.int32]
    values: tuple[str, ...]

    def equal(self, value: str) -> Mask:
        code = self.values.index(value) if value in self.values else -1
        mask: Mask = self.codes == code
        return mask


@dataclass(frozen=True, slots=True)
class Tokens:
    """The token responses of some requests. `at`: the index of each one's request in the selection, ascending. `arrivals` are in ns, with
    a count for each.
    """

    at: Ints
    arrivals: Ragged
    counts: Ragged
    lags: Ragged | None  # ns; empty for a request whose arrivals the kernel did not stamp
    coalesced: Ragged | None  # positions in the list of arrivals


class _Column:
    """A column of int64 or bool for the selected requests."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, requests: Requests, owner: type) -> Ints:
        column: Ints = requests.column(self._name)
        return column


class _Flags(_Column):
    def __get__(self, requests: Requests, owner: type) -> Mask:  # type: ignore[override]
        column: Mask = requests.column(self._name)
        return column


class Requests:
    """Some requests of one deployment as arrays [n] in the order of the file; MISSING for an instant or number that a request does not
    have.

    Columns are those of RequestRecord. Values derived from token responses are computed once: the number of `responses` with tokens, the
    instants `first_token_ns`, `first_output_ns` (of the first response after any reasoning) and `last_token_ns`, the `longest_gap_ns`
    between two, `output_tokens`, whether `each_has_one` token and whether they arrived `in_order`, `lag_count` and `coalesced_count`. The
    responses themselves stay on disk: `tokens()` reads them in parts.
    """

    index = _Column()
    prompt = _Column()
    input_tokens = _Column()
    asked_output_tokens = _Column()
    due_ns = _Column()
    sent_ns = _Column()
    done_ns = _Column()
    done_lag_ns = _Column()
    attempts = _Column()
    session = _Column()
    turn = _Column()
    echoed_tokens = _Column()
    text_tokens = _Column()
    planned_input_tokens = _Column()
    reasoning_responses = _Column()
    admitted_ns = _Column()
    responses = _Column()
    first_token_ns = _Column()
    first_output_ns = _Column()
    last_token_ns = _Column()
    longest_gap_ns = _Column()
    output_tokens = _Column()
    lag_count = _Column()
    coalesced_count = _Column()
    warmup = _Flags()
    planned_cancel = _Flags()
    read_with_end = _Flags()
    each_has_one = _Flags()
    in_order = _Flags()
    has_server = _Flags()

    def __init__(self, columns: Mapping[str, Column], texts: Mapping[str, Texts], file: RequestFile, rows: Ints | None = None) -> None:
        """`columns` and `texts` belong to all requests, `rows` are the positions of the selected ones, ascending; None: all."""
        self._columns, self._texts, self._file, self._rows = columns, texts, file, rows

    def __len__(self) -> int:
        return len(self._columns["index"]) if self._rows is None else len(self._rows)

    def column(self, name: str) -> Any:
        """The column `name`, such as `prompt`, `server.arrival_ns` for an instant of the server, or `engine.draft_tokens`."""
        column = self._columns[name]
        return column if self._rows is None else column[self._rows]

    def texts(self, name: str) -> Texts:
        """A column of texts: stage, outcome, error, model_version, mix or finish_reason."""
        texts = self._texts[name]
        return texts if self._rows is None else Texts(texts.codes[self._rows], texts.values)

    def select(self, kept: Mask) -> Requests:
        """The requests of a mask [n]."""
        rows = np.flatnonzero(kept) if self._rows is None else self._rows[kept]
        return Requests(self._columns, self._texts, self._file, rows)

    def with_columns(self, columns: Mapping[str, Column]) -> Requests:
        """The same requests with further columns, given for all requests of the file; requests outside the selection are unchanged."""
        assert self._rows is None
        return Requests({**self._columns, **columns}, self._texts, self._file)

    def ended(self, *outcomes: Outcome) -> Mask:
        texts = self.texts("outcome")
        return np.isin(texts.codes, [i for i, value in enumerate(texts.values) if value in outcomes])

    @property
    def completed(self) -> Requests:
        return self.select(self.ended(Outcome.COMPLETED))

    @property
    def measured(self) -> Requests:
        """The requests that are not warm-up."""
        return self.select(~self.warmup)

    def stage(self, name: str) -> Requests:
        """The measured requests of one stage."""
        return self.select(self.texts("stage").equal(name) & ~self.warmup)

    @property
    def counts_tokens(self) -> Mask:
        """Whether the number of output tokens is known. For a text whose server does not report it, it is not, and the counts are zeros."""
        known: Mask = (self.responses == 0) | (self.output_tokens > 0)
        return known

    @property
    def tokens_estimated(self) -> Mask:
        """Whether the tokens are known only by trtbench's tokenizer."""
        by_length = self.texts("finish_reason").equal("length") & self.ended(Outcome.COMPLETED)
        estimated: Mask = (self.text_tokens != MISSING) & ~by_length
        return estimated

    @property
    def ready_ns(self) -> Ints:
        """[n] When a request could be sent: its scheduled time, or the end of its wait for a place under max_in_flight."""
        return np.where(self.admitted_ns == MISSING, self.due_ns, self.admitted_ns)

    def tokens(self, lags: bool = False, coalesced: bool = False) -> Iterator[Tokens]:
        """Token responses of the requests that have any, one row group at a time."""
        names = ("token_ns", "token_counts", *(["token_lag_ns"] if lags else []), *(["coalesced"] if coalesced else []))
        file_rows, filled = self.column("row"), self.responses > 0
        chosen = np.flatnonzero(filled)
        for start, end, table in self._groups(file_rows[chosen], names):
            at = chosen[(file_rows[chosen] >= start) & (file_rows[chosen] < end)]
            kept = np.zeros(end - start, np.bool_)
            kept[file_rows[at] - start] = True
            lists = {name: Ragged.of(one_chunk(table[name])).select(kept) for name in names}
            arrivals = lists["token_ns"]
            counts = _respread(lists["token_counts"], self.column("reported_tokens")[at])
            yield Tokens(at, arrivals, counts, lists.get("token_lag_ns"), lists.get("coalesced"))

    def lists(self, name: str) -> Iterator[tuple[Ints, Ragged]]:
        """(Indices in the selection, their lists of a column), one row group at a time."""
        file_rows = self.column("row")
        for start, end, table in self._groups(file_rows, (name,)):
            kept = np.zeros(end - start, np.bool_)
            at = np.flatnonzero((file_rows >= start) & (file_rows < end))
            kept[file_rows[at] - start] = True
            yield at, Ragged.of(one_chunk(table[name])).select(kept)

    def rows_of(self, *names: str) -> Iterator[tuple[Ints, list[dict[str, object]]]]:
        """(Indices in the selection, their values of some columns as Python objects), one row group at a time: for few requests."""
        file_rows = self.column("row")
        for start, end, table in self._groups(file_rows, names):
            at = np.flatnonzero((file_rows >= start) & (file_rows < end))
            yield at, table.take(file_rows[at] - start).to_pylist()

    def records(self) -> list[RequestRecord]:
        """All requests as records. It reads every column, so it is for few requests."""
        reported = self.column("reported_tokens")
        found = []
        for at, rows in self.rows_of(*REQUEST_SCHEMA.names):
            records = [RequestRecord.from_json({name: value for name, value in row.items() if value is not None}) for row in rows]
            for record, tokens in zip(records, reported[at].tolist(), strict=True):
                if tokens >= 0:
                    record.token_counts = spread(tokens, len(record.token_ns))
            found += records
        return found

    def _groups(self, file_rows: Ints, names: tuple[str, ...]) -> Iterator[tuple[int, int, Any]]:
        """(First row, end, columns) of the row groups that contain one of these rows."""
        wanted = np.unique(np.searchsorted(self._file.starts, file_rows, "right") - 1) if len(file_rows) else ()
        for start, table in self._file.groups(names, map(int, wanted)):
            yield start, start + table.num_rows, table


def spread(tokens: int, responses: int) -> list[int]:
    """Token counts of the responses, as even as possible: one each if there are as many tokens as responses."""
    return [(i + 1) * tokens // responses - i * tokens // responses for i in range(responses)]


def _respread(counts: Ragged, reported: Ints) -> Ragged:
    """The counts, with each number in `reported` (0 or more) spread evenly over its request's responses."""
    if (reported < 0).all():
        return counts
    lengths, places = counts.lengths, counts.places()
    tokens, responses = np.repeat(reported, lengths), np.repeat(lengths, lengths)
    even = (places + 1) * tokens // np.maximum(responses, 1) - places * tokens // np.maximum(responses, 1)
    return counts.with_values(np.where(tokens < 0, counts.values, even))
