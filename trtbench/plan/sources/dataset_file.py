"""Reading a dataset: every row that can be sent, and what was left out with the reason."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from trtbench.plan.sources.dataset_row import RawConversation, RowError, conversation_of, unwrapped
from trtbench.plan.sources.left_out import LeftOut
from trtbench.plan.sources.prompt_source import WorkloadError
from trtbench.system.input_file import InputFileError, read_rows


@dataclass(frozen=True)
class RawDataset:
    """`rows` in file order, none of them empty."""

    rows: tuple[RawConversation, ...]
    left_out: LeftOut

    def longest(self, whole: bool) -> tuple[int, int]:
        """Upper bounds of the tokens of a prompt and of an answer, known without a tokenizer: of a text, its bytes in UTF-8.

        `whole`: of conversations with all their turns, else of first turns alone.
        """
        rows = self.rows if whole else [row[:1] for row in self.rows]
        prompts = [
            sum(_most_tokens(turn.prompt) + _most_tokens(turn.answer) for turn in row) - _most_tokens(row[-1].answer) for row in rows
        ]
        return max(prompts), max(_most_tokens(turn.answer) for row in rows for turn in row)


def read_dataset(path: Path) -> RawDataset:
    """WorkloadError, with file, line or row, and remedy, when it is not JSON, or no row of it holds a prompt."""
    left_out = LeftOut(str(path))
    rows = []
    try:
        for where, row in read_rows(path):
            for one in unwrapped(row):
                left_out.rows += 1
                try:
                    rows.append(conversation_of(one))
                except RowError as error:
                    left_out.add(str(error), where)
    except InputFileError as error:
        raise WorkloadError(f"workload.dataset: {error}") from error
    if not rows:
        why = f": {left_out.text.partition('left out: ')[2]}" if left_out.count else ": give at least one row with a prompt"
        raise WorkloadError(f"workload.dataset {path} holds no prompt{why}")
    return RawDataset(tuple(rows), left_out)


def _most_tokens(part: str | list[int] | int | None) -> int:
    if part is None or isinstance(part, int):
        return part or 0
    return len(part.encode()) if isinstance(part, str) else len(part)
