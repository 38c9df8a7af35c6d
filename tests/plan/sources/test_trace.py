from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.plan.sources.reader import TracedRequest
from trtbench.plan.sources.trace import TraceError, load_trace, read_trace, trace_offsets
from trtbench.rundir.event_kinds import as_json

MOONCAKE = [
    {"timestamp": 27482, "input_length": 6955, "output_length": 52, "hash_ids": list(range(46, 60))},
    {"timestamp": 30535, "input_length": 513, "output_length": 26, "hash_ids": [46, 110]},
    {"timestamp": 30535, "input_length": 512, "output_length": 1, "hash_ids": [46]},
]


def write(path: Path, *rows: Any) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def test_mooncakes_fields_are_read_as_they_are(tmp_path: Path) -> None:
    first, second, third = read_trace(write(tmp_path / "t.jsonl", *MOONCAKE))
    assert first == TracedRequest(27_482_000_000, 6955, 52, tuple(range(46, 60)))
    assert (second.time_ns, third.time_ns, third.hash_ids) == (30_535_000_000, 30_535_000_000, (46,))


def test_plain_lines(tmp_path: Path) -> None:
    rows = [
        {"timestamp_s": 1.5, "input_length": 7, "output_length": 2},
        "",
        {"timestamp": 0.25, "input_ids": [5, 6, 7], "output_length": 3},
    ]
    early, late = read_trace(write(tmp_path / "t.jsonl", *rows))
    assert (early.time_ns, early.input_tokens, early.output_tokens) == (250_000, 3, 3)
    assert early.input_ids is not None and early.input_ids.tolist() == [5, 6, 7]
    assert (late.time_ns, late.input_tokens, late.hash_ids, late.input_ids) == (1_500_000_000, 7, (), None)


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=50), st.floats(0.1, 100))
def test_a_replay_keeps_the_gaps_over_its_speed(times_ns: list[int], speed: float) -> None:
    trace = [TracedRequest(time_ns, 1, 1) for time_ns in sorted(times_ns)]
    offsets = trace_offsets(trace, speed, None, None)
    assert offsets.tolist() == [round((time_ns - min(times_ns)) / speed) for time_ns in sorted(times_ns)]
    assert trace_offsets(trace, speed, 3, None).tolist() == offsets[:3].tolist()
    cut = trace_offsets(trace, speed, None, 10.0)
    assert cut.tolist() == [offset for offset in offsets.tolist() if offset < 10 * 10**9]


@pytest.mark.parametrize("row", ["{", "[" * 100_000, '{"timestamp": 1, "input_length": ' + "9" * 5000 + "}"])
def test_a_line_that_is_not_json_is_named(tmp_path: Path, row: str) -> None:
    with pytest.raises(TraceError, match=r"t\.jsonl:2: not JSON"):
        read_trace(write(tmp_path / "t.jsonl", MOONCAKE[0], row))


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("5", "the row is a number, not an object with timestamp, input_length and output_length"),
        ({"timestamp": 10**20, "input_length": 1, "output_length": 1}, "timestamp is not a time: give milliseconds"),
        ({"timestamp": 1, "input_length": 2**31, "output_length": 1}, "input_length is not a whole number of tokens"),
        ({"input_length": 1, "output_length": 1}, "timestamp is not a time: give milliseconds as timestamp, or seconds as timestamp_s"),
        ({"timestamp": "now", "input_length": 1, "output_length": 1}, "timestamp is not a time"),
        ({"timestamp_s": float("nan"), "input_length": 1, "output_length": 1}, "timestamp_s is not a time"),
        ({"timestamp": True, "input_length": 1, "output_length": 1}, "timestamp is not a time"),
        ({"timestamp": 1, "input_length": -1, "output_length": 1}, "input_length is not a whole number of tokens from 1 to 10,000,000"),
        ({"timestamp": 1, "input_length": 1}, "output_length is not a whole number"),
        ({"timestamp": 1, "input_length": 1.5, "output_length": 1}, "input_length is not a whole number"),
        ({"timestamp": 1, "input_length": 5, "output_length": 1, "hash_ids": ["a"]}, "hash_ids is not a list of whole numbers"),
        ({"timestamp": 1, "input_length": 5, "output_length": 1, "hash_ids": 7}, "hash_ids is not a list of whole numbers"),
        ({"timestamp": 1, "output_length": 1, "input_ids": []}, "input_ids is not a list of token ids"),
        ({"timestamp": 1, "output_length": 1, "input_ids": [-1]}, "input_ids is not a list of token ids"),
        ({"timestamp": 1, "output_length": 1, "input_ids": [1] * 99 + [2**31]}, "input_ids is not a list of token ids"),
    ],
)
def test_a_line_that_cannot_be_replayed_is_left_out_counted_and_named(tmp_path: Path, row: Any, reason: str) -> None:
    path = write(tmp_path / "t.jsonl", MOONCAKE[0], row)
    found, left_out = load_trace(path)
    assert len(found) == 1
    (only,) = as_json(left_out.facts)["reasons"]
    assert reason in only["reason"] and only["first"] == [f"{path}:2"]
    with pytest.raises(TraceError, match=r"has no lines that can be replayed: .*1 of 1 rows were left out"):
        read_trace(write(tmp_path / "t.jsonl", row))


def test_files_that_are_no_trace(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="cannot be read"):
        read_trace(tmp_path / "none.jsonl")
    with pytest.raises(TraceError, match="has no lines that can be replayed"):
        read_trace(write(tmp_path / "t.jsonl", ""))
    (tmp_path / "bytes.jsonl").write_bytes(b"\xff\xfe\n")
    with pytest.raises(TraceError, match="is UTF-16 text"):
        read_trace(tmp_path / "bytes.jsonl")


@given(st.text(max_size=200))
def test_any_text_is_a_trace_or_refused_as_one(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_text(text, encoding="utf-8", newline="")
    with pytest.raises(TraceError):
        read_trace(path)


json_values = st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner, max_size=3))
KEYS = ["timestamp", "timestamp_s", "input_length", "output_length", "hash_ids", "input_ids"]


@given(st.dictionaries(st.sampled_from(KEYS), json_values))
def test_any_object_is_a_request_or_refused(tmp_path_factory: pytest.TempPathFactory, row: dict[str, Any]) -> None:
    path = write(tmp_path_factory.getbasetemp() / "object.jsonl", row)
    try:
        (request,) = read_trace(path)
    except TraceError as error:
        assert f"{path}:1" in str(error)
    else:
        assert request.input_tokens >= 1 and request.output_tokens >= 1
        trace_offsets([request], 1.0, None, None)


def row(tokens: int, ids: int, time: float = 1) -> dict[str, Any]:
    return {"timestamp": time, "input_length": tokens, "output_length": 1, "hash_ids": list(range(ids))}


@pytest.mark.parametrize(
    ("rows", "block_tokens"),
    [
        ([row(6955, 14), row(513, 2)], 512),
        ([row(521, 33), row(160, 10), row(5, 1)], 16),
        ([row(521, 32), row(160, 10)], 16),  # no id for the partial block
        ([row(300, 5), row(64, 1), row(65, 2)], 64),
        ([row(5, 1)], 512),  # several fit
    ],
)
def test_the_block_size_follows_from_the_lengths(tmp_path: Path, rows: list[dict[str, Any]], block_tokens: int) -> None:
    found, left_out = load_trace(write(tmp_path / "t.jsonl", *rows))
    assert {request.block_tokens for request in found} == {block_tokens}
    assert left_out.count == 0


def test_a_block_size_that_is_given_counts_and_what_does_not_fit_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", row(100, 4), row(75, 3), row(75, 9))
    found, left_out = load_trace(path, 25)
    assert [len(request.hash_ids) for request in found] == [4, 3]
    assert as_json(left_out.facts)["reasons"] == [
        {"reason": "hash_ids do not fit input_length in blocks of 25 tokens", "rows": 1, "first": [f"{path}:3"]}
    ]
    with pytest.raises(TraceError, match=r"hash_ids fit no block size: .*trace_block_tokens"):
        read_trace(path)


def test_rows_of_no_tokens_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = [row(5, 1), {"timestamp": 2, "input_length": 5, "output_length": 0}, {"timestamp": 3, "input_length": 0, "output_length": 5}]
    path = write(tmp_path / "t.jsonl", *rows)
    found, left_out = load_trace(path)
    assert len(found) == 1
    assert left_out.text == (
        f"{path}: 2 of 3 rows were left out: 1: output_length is 0 (first: {path}:2); 1: input_length is 0 (first: {path}:3)"
    )


def test_alibabas_timestamps_are_seconds(tmp_path: Path) -> None:
    bailian = {"chat_id": 159, "parent_chat_id": -1, "type": "text", "turn": 1}
    first, second = read_trace(write(tmp_path / "t.jsonl", row(521, 33, 61.114) | bailian, row(400, 25, 62.5) | bailian))
    assert (first.time_ns, second.time_ns, second.block_tokens) == (61_114_000_000, 62_500_000_000, 16)


def test_a_byte_order_mark_is_left_out(tmp_path: Path) -> None:
    assert len(read_trace(write(tmp_path / "t.jsonl", "\ufeff" + json.dumps(MOONCAKE[0])))) == 1


def test_a_replay_of_months_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"takes 4,629\.6 days at speed 0\.001; the upper bound is 30 days"):
        trace_offsets([TracedRequest(0, 1, 1), TracedRequest(4 * 10**14, 1, 1)], 0.001, None, None)
