from __future__ import annotations

import json
import os
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.plan.sources.datasets import read_dataset
from trtbench.plan.sources.prompt_source import WorkloadError
from trtbench.plan.sources.reader import RawTurn
from trtbench.rundir.event_kinds import as_json
from trtbench.system.input_file import MOST_ROW_BYTES


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
        (RawTurn("a", "b"),),
    ]
    for text in ("\n " + json.dumps(rows), "\n".join(json.dumps(row) for row in rows), json.dumps(rows, indent=2)):
        found = read_dataset(written(text))
        assert list(found.rows) == expected
        assert (found.left_out.rows, found.left_out.counts) == (7, {"conversations has no message of a user": 2})


def test_json_lines(written: Any) -> None:
    rows = [
        '{"prompt": "a"}',
        "",
        '{"text": "a", "output_tokens": 5}',
        '{"text_input": "a", "output_length": 7}',
        '{"input_ids": [4, 0, 9], "output_tokens": null}',
    ]
    assert read_dataset(written("\ufeff" + "\n".join(rows))).rows == (
        (RawTurn("a"),),
        (RawTurn("a", 5),),
        (RawTurn("a", 7),),
        (RawTurn([4, 0, 9]),),
    )


CHAT = [{"role": "system", "content": "s"}, {"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
PARTS = [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}]


@pytest.mark.parametrize(
    ("row", "turns"),
    [
        ({"messages": CHAT}, [("a", "b")]),
        ({"messages": [*CHAT, {"role": "user", "content": "c"}]}, [("a", "b"), ("c", None)]),
        ({"messages": PARTS, "max_tokens": 7}, [("a\nb", 7)]),
        ({"conversations": CHAT}, [("a", "b")]),
        ({"custom_id": "1", "url": "/v1/chat/completions", "body": {"messages": CHAT[:2], "max_completion_tokens": 9}}, [("a", 9)]),
        ({"session_id": "s", "payloads": [{"model": "m", "messages": CHAT[:2], "max_tokens": 4}]}, [("a", 4)]),
        ({"payload": [{"prompt": "a", "max_tokens": 4}]}, [("a", 4)]),
        ({"session_id": "s", "turns": [{"text": "a"}, {"text": "b"}]}, [("a", None), ("b", None)]),
        ({"text_input": ["a"], "stream": [True], "max_tokens": [5]}, [("a", 5)]),
        ({"text_input": {"content": ["a"], "shape": [1]}}, [("a", None)]),
        ({"input_ids": {"content": [1, 2], "shape": [2]}, "request_output_len": [3]}, [([1, 2], 3)]),
        ([{"text_input": ["a"]}], [("a", None)]),
        ("a", [("a", None)]),
    ],
)
def test_formats_of_other_tools(written: Any, row: Any, turns: list[tuple[Any, Any]]) -> None:
    """OpenAI's messages and batches, aiperf's inputs.json, genai-perf's and perf_analyzer's input JSON."""
    for text in (json.dumps([row]), json.dumps({"data": [row]}), json.dumps({"data": [row]}, indent=1)):
        assert [tuple(turn) for turn in read_dataset(written(text)).rows[0]] == turns
    if not isinstance(row, list):
        assert [tuple(turn) for turn in read_dataset(written(json.dumps(row) + "\n" + json.dumps(row))).rows[1]] == turns


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("5", "the row is a number, not an object"),
        ("null", "the row is null, not an object"),
        ('{"prompt": 5}', "prompt is a number, not a text"),
        ('{"prompt": null}', "prompt is null, not a text"),
        ('{"prompt": ["a", "b"]}', "prompt is a list, not a text"),
        ('{"prompt": ""}', "prompt is empty"),
        ('{"prompt": "a \\ud800 b"}', "prompt has half of a surrogate pair"),
        ('{"question": "a"}', "no prompt among its keys (question); give a text as prompt, text, text_input, token ids as input_ids"),
        ('{"instruction": "a", "input": "", "output": "b"}', "no prompt among its keys (instruction, input, output)"),
        ('{"timestamp": 5, "input_length": 4, "output_length": 4}', "such a file is a trace, replay it with mode: trace"),
        ('{"prompt": "a", "output_tokens": 0}', "output_tokens is not a whole number from 1 to 10,000,000"),
        ('{"prompt": "a", "output_length": "5"}', "output_length is not a whole number"),
        ('{"prompt": "a", "max_tokens": 3000000000}', "max_tokens is not a whole number"),
        ('{"input_ids": []}', "input_ids is not a list of token ids"),
        ('{"input_ids": [1, -1]}', "input_ids is not a list of token ids"),
        ('{"input_ids": [1, true]}', "input_ids is not a list of token ids"),
        ('{"input_ids": [4294967296]}', "input_ids is not a list of token ids"),
        ('{"input_ids": "1 2"}', "input_ids is not a list of token ids"),
        ('{"conversations": 5}', "conversations is a number, not a list of messages"),
        ('{"conversations": [{"from": "human"}]}', "a message of conversations is null, not a text"),
        ('{"conversations": [{"from": "human", "value": null}]}', "a message of conversations is null, not a text"),
        ('{"conversations": [{"from": "human", "value": "\\udfff"}]}', "a message of conversations has half of a surrogate pair"),
        ('{"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}', "a message of messages is a list, not a"),
        ('{"messages": [5]}', "messages contains a number, not messages"),
    ],
)
def test_a_row_without_a_prompt_is_left_out_counted_and_named(written: Any, row: str, reason: str) -> None:
    found = read_dataset(written(f'{{"prompt": "a"}}\n\n{row}\n{row}\n'))
    assert found.rows == ((RawTurn("a"),),)
    facts = as_json(found.left_out.facts)
    assert (facts["rows"], facts["left_out"]) == (3, 2)
    (one,) = facts["reasons"]
    assert reason in one["reason"] and one["rows"] == 2
    assert [place.rpartition("/")[2] for place in one["first"]] == ["data:3", "data:4"]
    assert "data:3" in found.left_out.text
    with pytest.raises(WorkloadError, match="data contains no prompt: 1: ") as caught:
        read_dataset(written(row))
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "contains no prompt"),
        ("[]", "contains no prompt"),
        ('[{"conversations": []}]', "contains no prompt: 1: conversations has no message of a user"),
        ('{"prompt": "a"}\n{"prompt"', r"data:2: not JSON \(.*\); write one object a line"),
        ('[{"prompt": "a"},\n{"prompt"]', r"data:2: not JSON"),
        ('[{"prompt": "a"}\n{"prompt": "b"}]', r"data:2: not JSON \(, is missing\)"),
        ('[{"prompt": "a"}', r"data:1: not JSON"),
        ("[" * 100_000, r"data:1: not JSON \(nested too deep\)"),
        ('{"prompt": ' + "[" * 100_000, r"data:1: not JSON \(nested too deep\)"),
        ('{"prompt": "a", "n": ' + "9" * 5000 + "}", r"data:1: not JSON \(a number of thousands of digits\)"),
        ("[" + "9" * 5000 + "]", r"data:1: not JSON \(a number of thousands of digits\)"),
        (b'{"prompt": "a"}\n\xff\xfe', r"data:2: not UTF-8"),
        (b"[\xff]", r"not UTF-8"),
        ("[]".encode("utf-16"), "is UTF-16 text: convert it"),
        (b"PAR1....", "is a Parquet file"),
        (b"\x1f\x8b....", "is a gzip file"),
        ("[]".encode("utf-32"), "is UTF-32 text: convert it"),
        (b"ARROW1\0\0", "is an Arrow file"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:a\n", "is a Git LFS pointer, not the file itself"),
        ("<!doctype html><html>", "is HTML or XML, perhaps a sign-in page"),
        ("prompt,tokens\na,5\n", r"is a table in text \(CSV\): write a JSON object a line"),
        ("\ufeffTimestamp\tRequest tokens\r\n1\t2\r\n", r"is a table in text \(CSV\)"),
        ("Write a poem\n", r"data:1: not JSON"),
    ],
    ids=lambda text: str(text[:30]),
)
def test_a_file_that_is_no_dataset_is_refused(written: Any, text: str | bytes, says: str) -> None:
    with pytest.raises(WorkloadError, match=says) as caught:
        read_dataset(written(text))
    assert len(str(caught.value)) < 400


def test_a_pipe_is_named(tmp_path: Path) -> None:
    """As a shell's `<(...)` is one."""
    end, start = os.pipe()
    os.write(start, b'{"prompt": "a"}')
    os.close(start)
    with pytest.raises(WorkloadError, match=r"cannot be read \(a pipe, and it is read more than once\): give a file"):
        read_dataset(Path(f"/dev/fd/{end}"))
    os.close(end)


@pytest.mark.parametrize("start", ['{"prompt": "', '[{"prompt": "', "[[", '{"data": ["'])
def test_an_endless_row_is_refused_in_bounded_memory(tmp_path: Path, start: str) -> None:
    path = tmp_path / "long"
    with path.open("w") as file:
        file.write(start)
        for _ in range(100):
            file.write("x" * (1 << 20))
    tracemalloc.start()
    with pytest.raises(WorkloadError, match=r"long:1: (a line of over|not JSON \((a row of over 32 MiB|Expecting value))"):
        read_dataset(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * MOST_ROW_BYTES


def test_an_array_is_read_row_by_row(tmp_path: Path) -> None:
    """Larger than a chunk, rows across its borders, multi-byte characters too."""
    rows = [{"prompt": "é" * (number * 37 % 5000 + 1)} for number in range(1500)]
    path = tmp_path / "array"
    path.write_text(json.dumps(rows, ensure_ascii=False), encoding="utf-8")
    assert path.stat().st_size > 3 << 20
    assert [turns[0].prompt for turns in read_dataset(path).rows] == [row["prompt"] for row in rows]


def test_the_longest_prompt_and_answer_are_known_without_a_tokenizer(written: Any) -> None:
    found = read_dataset(
        written(json.dumps([said(("human", "aé"), ("gpt", "bbbb"), ("human", "c"), ("gpt", "d")), {"input_ids": [1] * 7}]))
    )
    assert found.longest(whole=False) == (7, 4)
    assert found.longest(whole=True) == (8, 4)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"workload\.dataset: .*none\.json cannot be read"):
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
        found = read_dataset(path)
        assert len(found.rows) + found.left_out.count == found.left_out.rows
    except WorkloadError as error:
        assert str(path) in str(error)
