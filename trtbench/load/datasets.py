"""A dataset's rows in the model's tokens, in a drawn order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from trtbench.load.dataset_file import RawTurn, read_dataset
from trtbench.load.workload import PromptSource, TokenIds, WorkloadError
from trtbench.scenario import Dataset, Workload


class Turn(NamedTuple):
    """A user's new tokens, shape [tokens], and the length of the answer; None: as the workload says."""

    input_ids: TokenIds
    output_tokens: int | None


class DatasetRows:
    """Rows are tokenised when they are first drawn: of a file with a million, a short run pays for its own."""

    def __init__(self, spec: Dataset, source: PromptSource, whole: bool) -> None:
        """`whole`: conversations with all their turns, else the first turn alone. WorkloadError for a file that is no dataset."""
        self._spec = spec
        self._source = source
        self._raw = [row if whole else row[:1] for row in read_dataset(spec.path)]
        self._rows: dict[int, tuple[Turn, ...]] = {}

    def draw(self, random: np.random.Generator, backwards: bool) -> Iterator[tuple[Turn, ...]]:
        """Without replacement, then all again in another order, without end. `backwards`: each order from its end, so that a
        warm-up meets the measured part's rows last. WorkloadError when no row is within the bounds.
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
    def note(self) -> str:
        """How many rows were left out of those that were looked at; "" for none."""
        dropped = sum(not row for row in self._rows.values())
        drawn = f"{self._spec.path}: {dropped} of the {len(self._rows)} rows drawn"
        return f"{drawn} were dropped, not within {self._bounds}" if dropped else ""

    @property
    def _bounds(self) -> str:
        prompt, answer = self._spec.input_tokens, self._spec.output_tokens
        return f"dataset.input_tokens {prompt.min} to {prompt.max} and dataset.output_tokens {answer.min} to {answer.max}"

    def _row(self, number: int) -> tuple[Turn, ...]:
        if number not in self._rows:
            self._rows[number] = tuple(self._within_bounds(self._raw[number]))
        return self._rows[number]

    def _within_bounds(self, row: tuple[RawTurn, ...]) -> Iterator[Turn]:
        """The turns before the first that is out of bounds."""
        prompt_tokens = 0
        for raw in row:
            turn = self._turn(raw)
            prompt_tokens += len(turn.input_ids)
            if not self._spec.input_tokens.min <= prompt_tokens <= self._spec.input_tokens.max or not len(turn.input_ids):
                return
            if turn.output_tokens is not None:
                if not self._spec.output_tokens.min <= turn.output_tokens <= self._spec.output_tokens.max:
                    return
                prompt_tokens += turn.output_tokens
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


Datasets = Mapping[tuple[Dataset, bool], DatasetRows]
"""By what is asked of the file, and whether conversations are taken whole."""


def open_datasets(workload: Workload, source: PromptSource) -> Datasets:
    """Those that the workload's kinds name. WorkloadError for a file that is no dataset."""
    asked = {(kind.dataset, kind.sessions is not None) for kind in workload.kinds.values() if kind.dataset}
    return {(spec, whole): DatasetRows(spec, source, whole) for spec, whole in asked}
