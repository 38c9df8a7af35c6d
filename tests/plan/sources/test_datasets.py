from __future__ import annotations

import json
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.fakes.word_prompts import FakeWordPrompts, words
from trtbench.plan.sources.datasets import DatasetRows, Turn
from trtbench.plan.sources.prompt_source import UniformPrompts, WorkloadError
from trtbench.scenario.workload.request_kind import Dataset


def dataset(path: Path, rows: list[dict[str, Any]], **bounds: Any) -> Dataset:
    path.write_text("\n".join(map(json.dumps, rows)))
    return Dataset.model_validate({"path": path} | bounds)


def talk(*turns: tuple[int, int]) -> dict[str, Any]:
    """A conversation of (words of the user, words of the answer)."""
    said = [("human" if speaker == 0 else "gpt", words(count)) for turn in turns for speaker, count in enumerate(turn)]
    return {"conversations": [{"from": speaker, "value": value} for speaker, value in said]}


def shape(row: tuple[Turn, ...]) -> list[tuple[int, int | None]]:
    return [(len(turn.input_ids), turn.output_tokens) for turn in row]


def drawn(rows: DatasetRows, count: int, seed: int = 1, backwards: bool = False) -> list[tuple[Turn, ...]]:
    return list(islice(rows.draw(np.random.default_rng(seed), backwards), count))


@pytest.fixture
def numbered(tmp_path: Path) -> DatasetRows:
    """Ten rows of one token each, its id the row's number."""
    return DatasetRows(dataset(tmp_path / "ten", [{"input_ids": [row]} for row in range(10)]), UniformPrompts(10), False)


def numbers(rows: list[tuple[Turn, ...]]) -> list[int]:
    return [int(turns[0].input_ids[0]) for turns in rows]


def test_every_row_is_drawn_once_before_any_is_drawn_again(numbered: DatasetRows) -> None:
    cycles = np.array(numbers(drawn(numbered, 30))).reshape(3, 10)
    assert all(sorted(cycle) == list(range(10)) for cycle in cycles.tolist())
    assert len({tuple(cycle) for cycle in cycles.tolist()}) == 3
    assert numbers(drawn(numbered, 30)) == cycles.reshape(-1).tolist()
    assert numbers(drawn(numbered, 30, seed=2)) != cycles.reshape(-1).tolist()


def test_a_warm_up_meets_the_measured_rows_last(numbered: DatasetRows) -> None:
    assert numbers(drawn(numbered, 10, backwards=True)) == numbers(drawn(numbered, 10))[::-1]


def test_texts_become_the_sources_tokens(tmp_path: Path) -> None:
    rows = [{"prompt": "w5 w6", "output_tokens": 9}, talk((3, 4), (1, 1))]
    first, second = sorted(
        drawn(DatasetRows(dataset(tmp_path / "d", rows), FakeWordPrompts(), False), 2), key=lambda row: -(row[0].output_tokens or 0)
    )
    assert (first[0].input_ids.tolist(), first[0].output_tokens) == ([5, 6], 9)
    assert first[0].input_ids.dtype == np.int32
    assert (second[0].input_ids.tolist(), second[0].output_tokens, len(second)) == ([1, 2, 3], 4, 1)


def test_what_is_out_of_bounds_is_dropped_and_counted(tmp_path: Path) -> None:
    rows = [
        {"prompt": words(size), "output_tokens": out}
        for size, out in ((1, 5), (2, 5), (9, 5), (10, 5), (5, 2), (5, 3), (5, 8), (5, 9), (0, 5))
    ]
    bounds = {"input_tokens": {"min": 2, "max": 9}, "output_tokens": {"min": 3, "max": 8}}
    made = DatasetRows(dataset(tmp_path / "d", rows, **bounds), FakeWordPrompts(), False)
    assert made.left_out.count == 1  # the empty prompt
    assert Counter(map(tuple, map(shape, drawn(made, 8)))) == {((size, out),): 2 for size, out in ((2, 5), (9, 5), (5, 3), (5, 8))}
    assert made.left_out.text == (
        f"{tmp_path / 'd'}: 5 of 9 rows were left out: 1: prompt is empty (first: {tmp_path / 'd'}:9); "
        "4: not within dataset.input_tokens 2 to 9 and dataset.output_tokens 3 to 8 (4 of the 8 rows drawn)"
    )


def test_every_length_is_kept_unless_it_is_limited(tmp_path: Path) -> None:
    rows = [{"prompt": words(size), "output_tokens": out} for size, out in ((1, 1), (3000, 2000), (5, 4000))]
    made = DatasetRows(dataset(tmp_path / "d", rows), FakeWordPrompts(), False)
    assert sorted(map(shape, drawn(made, 3))) == [[(1, 1)], [(5, 4000)], [(3000, 2000)]]
    assert made.left_out.count == 0


def test_prompt_and_answer_together_are_bounded_by_most_tokens(tmp_path: Path) -> None:
    rows = [{"prompt": words(size), "output_tokens": out} for size, out in ((4, 6), (5, 6))] + [{"prompt": words(3)}, {"prompt": words(2)}]
    made = DatasetRows(dataset(tmp_path / "d", rows, most_tokens=10), FakeWordPrompts(), False, output_tokens=8)
    assert sorted(map(shape, drawn(made, 2)), key=str) == [[(2, None)], [(4, 6)]]
    assert "not within dataset.most_tokens 10" in made.left_out.text


def test_a_conversation_ends_before_the_turn_that_goes_over(tmp_path: Path) -> None:
    # Prompts of the turns, with all before them: 3, 3 + 4 + 2 = 9, 9 + 1 + 5 = 15.
    spec = dataset(tmp_path / "d", [talk((3, 4), (2, 1), (5, 1))], input_tokens={"min": 1, "max": 14})
    assert shape(*drawn(DatasetRows(spec, FakeWordPrompts(), True), 1)) == [(3, 4), (2, 1)]
    spec = dataset(tmp_path / "d", [talk((3, 4), (2, 1), (5, 1))], input_tokens={"min": 1, "max": 15})
    assert shape(*drawn(DatasetRows(spec, FakeWordPrompts(), True), 1)) == [(3, 4), (2, 1), (5, 1)]


def test_no_row_within_the_bounds_is_an_error(tmp_path: Path) -> None:
    spec = dataset(tmp_path / "d", [{"prompt": "w1"}], input_tokens={"min": 2, "max": 3})
    with pytest.raises(WorkloadError, match=r"none of its 1 rows is within dataset\.input_tokens 2 to 3: widen them"):
        drawn(DatasetRows(spec, FakeWordPrompts(), False), 1)


def test_texts_without_a_tokenizer_are_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match="needs the model's tokenizer: name its directory with --tokenizer"):
        drawn(DatasetRows(dataset(tmp_path / "d", [{"prompt": "hello"}]), UniformPrompts(10), False), 1)


def test_ids_beyond_the_vocabulary_are_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"token id 10 is not in the vocabulary of 10: .*--vocab-size"):
        drawn(DatasetRows(dataset(tmp_path / "d", [{"input_ids": [9, 10]}]), UniformPrompts(10), False), 1)
