"""Datasets: the rows of a file that can be sent, those that are left out with the reason, and the rows as tokens in a drawn order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from trtbench.plan.sources.left_out import LeftOut
from trtbench.plan.sources.prompt_formats import PROMPT_FORMATS
from trtbench.plan.sources.prompt_source import PromptSource, TokenIds, WorkloadError
from trtbench.plan.sources.reader import RawConversation, RawTurn
from trtbench.plan.sources.readers import check_use, read_requests, used
from trtbench.plan.sources.tensors.tensor import InputRow
from trtbench.scenario.workload.lengths import Range
from trtbench.scenario.workload.request_kind import Dataset, RequestKind
from trtbench.scenario.workload.workload import Workload
from trtbench.system.input_file import InputFileError


@dataclass(frozen=True)
class RawDataset:
    """The rows of a file in its order, without those that are left out."""

    rows: tuple[RawConversation, ...]
    left_out: LeftOut

    def longest(self, whole: bool) -> tuple[int, int]:
        """Upper bounds of the tokens of a prompt and of an answer, without a tokenizer: a text has at most one token a byte of UTF-8.

        `whole`: conversations are used with all their turns, and otherwise only their first turns.
        """
        rows = self.rows if whole else [row[:1] for row in self.rows]
        prompts = [
            sum(_most_tokens(turn.prompt) + _most_tokens(turn.answer) for turn in row) - _most_tokens(row[-1].answer) for row in rows
        ]
        return max(prompts), max(_most_tokens(turn.answer) for row in rows for turn in row)


def read_dataset(path: Path, name: str | None = None) -> RawDataset:
    """The dataset in a file of the format `name`, or of those that its rows show.

    WorkloadError, with the line or row and the remedy, if it cannot be read or no row contains a prompt.
    """
    left_out = LeftOut(str(path))
    rows = []
    try:
        check_use(name, PROMPT_FORMATS, "dataset")
        for row in read_requests(path, name, PROMPT_FORMATS, left_out):
            if conversation := used(row, row.reader.conversation, left_out):
                rows.append(conversation)
    except InputFileError as error:
        raise WorkloadError(f"workload.dataset: {error}") from error
    if not rows:
        why = f": {left_out.text.partition('left out: ')[2]}" if left_out.count else ": give at least one row with a prompt"
        raise WorkloadError(f"workload.dataset {path} contains no prompt{why}")
    return RawDataset(tuple(rows), left_out)


def _most_tokens(part: str | list[int] | int | None) -> int:
    if part is None or isinstance(part, int):
        return part or 0
    return len(part.encode()) if isinstance(part, str) else len(part)


class Turn(NamedTuple):
    """A user's new tokens, of shape [tokens], and the length of the answer, or None for that of the workload; or tensors, and no tokens."""

    input_ids: TokenIds
    output_tokens: int | None
    tensors: InputRow | None = None


class DatasetRows:
    """The rows of a dataset as tokens. A row is tokenised when it is first drawn, so that a short run does not tokenise a large file."""

    def __init__(self, spec: Dataset, source: PromptSource, whole: bool, output_tokens: int = 0) -> None:
        """`whole`: conversations are used with all their turns, and otherwise only their first turns. `output_tokens` is the longest answer
        of a row that does not have one.

        WorkloadError if the file is not a dataset.
        """
        self._spec = spec
        self._source = source
        self._output_tokens = output_tokens
        file = read_dataset(spec.path, spec.format)
        self._raw = [row if whole else row[:1] for row in file.rows]
        self._unread = file.left_out
        self._rows: dict[int, tuple[Turn, ...]] = {}

    def draw(self, random: np.random.Generator, backwards: bool) -> Iterator[tuple[Turn, ...]]:
        """Rows without replacement, then all again in another order, without end. `backwards`: each order is read from its end, so that a
        warm-up reads the rows of the measured part last. WorkloadError if no row is within the bounds.
        """
        while True:
            order = random.permutation(len(self._raw))
            rows = (self._row(number) for number in (order[::-1] if backwards else order).tolist())
            empty = True
            for row in filter(None, rows):
                empty = False
                yield row
            if empty:
                none = f"workload.dataset {self._spec.path}: none of its {len(self._raw)} rows is within"
                raise WorkloadError(f"{none} {self._bounds}: widen them")

    @property
    def left_out(self) -> LeftOut:
        """All rows that cannot be sent, and those out of bounds, whose number is extrapolated from the rows drawn so far."""
        unread = self._unread
        found = LeftOut(unread.path, unread.rows, dict(unread.reasons), dict(unread.counts), unread.formats)
        dropped = sum(not row for row in self._rows.values())
        if dropped:
            drawn = len(self._rows)
            share = round(dropped / drawn * len(self._raw))
            found.add_many(f"not within {self._bounds} ({dropped} of the {drawn} rows drawn)", share)
        return found

    @property
    def _bounds(self) -> str:
        spec, parts = self._spec, []
        for name, bounds in (("input_tokens", spec.input_tokens), ("output_tokens", spec.output_tokens)):
            parts += [f"dataset.{name} {bounds.min} to {bounds.max}"] if bounds else []
        parts += [f"dataset.most_tokens {spec.most_tokens}"] if spec.most_tokens else []
        return " and ".join(parts) or "any bounds"

    def _row(self, number: int) -> tuple[Turn, ...]:
        if number not in self._rows:
            self._rows[number] = tuple(self._within_bounds(self._raw[number]))
        return self._rows[number]

    def _within_bounds(self, row: tuple[RawTurn, ...]) -> Iterator[Turn]:
        """The turns of a row before the first one that is out of bounds."""
        spec, prompt_tokens = self._spec, 0
        for raw in row:
            turn = self._turn(raw)
            prompt_tokens += len(turn.input_ids)
            answer = turn.output_tokens
            if not len(turn.input_ids) or answer == 0 or not _within(spec.input_tokens, prompt_tokens):
                return
            if answer is not None and not _within(spec.output_tokens, answer):
                return
            if spec.most_tokens and prompt_tokens + (answer or self._output_tokens) > spec.most_tokens:
                return
            prompt_tokens += answer or 0
            yield turn

    def _turn(self, raw: RawTurn) -> Turn:
        answer = len(self._source.encode(raw.answer)) if isinstance(raw.answer, str) else raw.answer
        if isinstance(raw.prompt, str):
            return Turn(self._source.encode(raw.prompt), answer)
        largest = max(raw.prompt)
        if largest >= self._source.vocabulary_tokens:
            raise WorkloadError(
                f"workload.dataset {self._spec.path}: token id {largest} is not in the vocabulary of {self._source.vocabulary_tokens}: "
                "take a dataset of this model's tokens, or give --vocab-size"
            )
        return Turn(np.array(raw.prompt, np.int32), answer)


def _within(bounds: Range | None, tokens: int) -> bool:
    return bounds is None or bounds.min <= tokens <= bounds.max


DatasetKey = tuple[Dataset, bool, int]
"""The dataset of a scenario, whether conversations are used whole, and the longest output of rows that have no length."""

Datasets = Mapping[DatasetKey, DatasetRows]


def dataset_key(kind: RequestKind, dataset: Dataset) -> DatasetKey:
    return dataset, kind.sessions is not None, kind.output_tokens.max


def open_datasets(workload: Workload, source: PromptSource) -> Datasets:
    """The datasets that the workload names; WorkloadError for a file that is not a dataset."""
    asked = {dataset_key(kind, kind.dataset) for kind in workload.kinds.values() if kind.dataset}
    return {key: DatasetRows(key[0], source, *key[1:]) for key in asked}
