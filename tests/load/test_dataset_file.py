from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.load.dataset_file import RawTurn, read_dataset
from trtbench.load.workload import WorkloadError


def said(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"id": "1", "conversations": [{"from": speaker, "value": value} for speaker, value in turns]}


@pytest.fixture
def written(tmp_path: Path) -> Any:
    def write(text: str | bytes) -> Path:
        path = tmp_path / "data"
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        return path

    return write


def test_sharegpt(written: Any) -> None:
    rows = [
        said(("human", "a"), ("gpt", "b"), ("human", "c"), ("gpt", "d")),
        said(("system", "s"), ("human", "a"), ("gpt", "b")),
        said(("gpt", "b"), ("human", "a")),
        said(("human", "a"), ("human", "b"), ("gpt", "c")),
        said(("gpt", "b")),
        said(),
        said(("user", "a"), ("assistant", "b")),
    ]
    expected: list[tuple[RawTurn, ...]] = [
        (RawTurn("a", "b"), RawTurn("c", "d")),
        (RawTurn("a", "b"),),
        (RawTurn("a"),),
        (RawTurn("a"), RawTurn("b", "c")),
        (),
        (),
        (RawTurn("a", "b"),),
    ]
    assert read_dataset(written("\n " + json.dumps(rows))) == expected
    assert read_dataset(written("\n".join(json.dumps(row) for row in rows))) == expected


def test_json_lines(written: Any) -> None:
    rows = [
        '{"prompt": "a"}',
        "",
        '{"text": "a", "output_tokens": 5}',
        '{"text_input": "a", "output_length": 7}',
        '{"input_ids": [4, 0, 9], "output_tokens": null}',
    ]
    assert read_dataset(written("\ufeff" + "\n".join(rows))) == [
        (RawTurn("a"),),
        (RawTurn("a", 5),),
        (RawTurn("a", 7),),
        (RawTurn([4, 0, 9]),),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "holds no prompt"),
        ("[]", "holds no prompt"),
        ('[{"conversations": []}]', "holds no prompt"),
        ('{"prompt": "a"}\n{"prompt"', r"data:2: not JSON \(.*\); write one object a line"),
        ('[{"prompt": "a"},\n{"prompt"]', r"data:2: not JSON"),
        ('[{"prompt": "a"}, 5]', "data, row 2: no prompt; give a text as prompt, text, text_input, token ids as input_ids"),
        ("null", "data:1: no prompt"),
        ('{"prompt": 5}', "data:1: no prompt"),
        ('{"question": "a"}', "data:1: no prompt"),
        ('{"prompt": "a", "output_tokens": 0}', "data:1: output_tokens = 0: give a whole number"),
        ('{"prompt": "a", "output_length": "5"}', "data:1: output_length = '5'"),
        ('{"input_ids": []}', "data:1: input_ids must be a list of token ids"),
        ('{"input_ids": [1, -1]}', "data:1: input_ids must be"),
        ('{"input_ids": [1, true]}', "data:1: input_ids must be"),
        ('{"input_ids": "1 2"}', "data:1: input_ids must be"),
        ('{"conversations": 5}', "data:1: conversations must be a list"),
        ('{"conversations": [{"from": "human"}]}', "data:1: conversations must be a list"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_row_that_cannot_be_understood_is_told(written: Any, text: str | bytes, says: str) -> None:
    with pytest.raises(WorkloadError, match=says):
        read_dataset(written(text))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"workload\.dataset .*none\.json cannot be read"):
        read_dataset(tmp_path / "none.json")


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3), max_leaves=5
)
rows = st.one_of(
    trees,
    st.dictionaries(st.sampled_from(["prompt", "text", "input_ids", "output_tokens", "conversations"]), trees),
    st.fixed_dictionaries({"conversations": st.lists(st.dictionaries(st.sampled_from(["from", "value"]), trees), max_size=3)}),
)


@given(st.lists(rows, max_size=3), st.booleans())
def test_whatever_json_is_there_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, made: list[Any], lines: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "any-dataset"
    path.write_text("\n".join(map(json.dumps, made)) if lines else json.dumps(made))
    try:
        assert len(read_dataset(path)) == len(made)
    except WorkloadError as error:
        assert str(path) in str(error)
