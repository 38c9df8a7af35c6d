"""Each format by an exact example of a few lines, and by rows that are damaged in any way."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.plan.sources.datasets import read_dataset
from trtbench.plan.sources.prompt_source import WorkloadError
from trtbench.plan.sources.reader import RawTurn
from trtbench.plan.sources.readers import READERS
from trtbench.plan.sources.trace import TraceError, load_trace
from trtbench.scenario.parts.choices import DatasetFormat, TraceFormat
from trtbench.system.input_file import read_lines_of

FILES = Path(__file__).parents[2] / "fixtures" / "input_formats"
FORMATS = {path: path.stem.removesuffix("-2024").removesuffix("-3").removesuffix("-samples") for path in sorted(FILES.iterdir())}
DATASETS = {path: name for path, name in FORMATS.items() if READERS[name].conversation}
TRACES = {path: name for path, name in FORMATS.items() if READERS[name].request}

CONVERSATIONS: dict[str, tuple[tuple[tuple[Any, Any], ...], ...]] = {
    "sharegpt": (
        (("What is a KV cache?", "Keys and values of earlier tokens."), ("Why blocks?", "No fragmentation.")),
        (("Name a river.", "The Elbe."),),
    ),
    "genai-perf": ((("What is a KV cache?", 16),), (("Name a river.", 8),)),
    "aiperf-single-turn": ((("What is a KV cache?", 16),), (("Name a river.", None),)),
    "aiperf-multi-turn": ((("What is a KV cache?", 16), ("Why blocks?", None)), (("Name a river.", None),)),
    "openai-batch": ((("Name a river.", 8),), (("A river is", 4),)),
    "openai-chat": ((("Name a river.", "The Elbe."),),),
    "trtllm-bench": (
        (([863, 22056, 25603, 11943], 128),),
        (([14480, 13598, 15585], 64),),
        (("Name a river.", 8),),
        (("Name a river.", 8), ("And a lake.", 8)),
    ),
    "trtllm-bench-samples": ((([5, 6], 9),), (([7, 8, 9], 4),)),
    "prompts": ((("Name a river.", 8),), (([5, 6, 7], None),)),
}
LEFT_OUT = {
    "aiperf-single-turn": {"image: only text is sent": 1},
    "openai-batch": {"no prompt among its keys (model, input); give a text as prompt, text, text_input, token ids as input_ids": 1},
    "trtllm-bench": {"media_paths: only text is sent": 1},
    "azure-2024": {"GeneratedTokens is 0": 1},
    "burstgpt": {"Response tokens is 0": 1},
}


def test_every_format_has_a_name_that_a_scenario_takes_and_an_example() -> None:
    named = {name: bool(reader.conversation) for name, reader in READERS.items()}
    assert named == dict.fromkeys(get_args(DatasetFormat), True) | dict.fromkeys(get_args(TraceFormat), False)
    assert set(FORMATS.values()) == set(READERS)


@pytest.mark.parametrize("path", DATASETS, ids=lambda path: path.name)
def test_a_dataset_is_recognised_and_read(path: Path) -> None:
    name = DATASETS[path]
    for found in (read_dataset(path), read_dataset(path, name)):
        assert found.rows == tuple(tuple(RawTurn(*turn) for turn in turns) for turns in CONVERSATIONS[path.stem])
        assert set(found.left_out.formats) == {name}
        assert {reason.partition(", or ")[0]: count for reason, count in found.left_out.counts.items()} == LEFT_OUT.get(path.stem, {})


@pytest.mark.parametrize(
    ("name", "times_ns", "lengths"),
    [
        ("azure.csv", (0, 4_314_579_000, 4_541_977_000), ((374, 44), (396, 109), (879, 55))),
        ("azure-2024.csv", (0, 7_405_000), ((2162, 5), (2399, 6))),
        ("burstgpt.csv", (0, 40_000_000_000, 113_000_000_000), ((472, 18), (1087, 230), (417, 276))),
        ("burstgpt-3.csv", (0,), ((17, 230),)),
        ("bailian.jsonl", (0, 1_386_000_000), ((33, 132), (40, 80))),
        ("mooncake.jsonl", (0, 3_053_000_000), ((6955, 52), (6472, 26))),
    ],
)
def test_a_trace_is_recognised_and_its_times_have_their_unit(name: str, times_ns: Any, lengths: Any) -> None:
    path = FILES / name
    for found, left_out in (load_trace(path), load_trace(path, name=TRACES[path])):
        assert tuple(one.time_ns - found[0].time_ns for one in found) == times_ns
        assert tuple((one.input_tokens, one.output_tokens) for one in found) == lengths
        assert set(left_out.formats) == {TRACES[path]}
        assert left_out.counts == LEFT_OUT.get(path.stem, {})


def test_units_and_what_is_missing_are_stated() -> None:
    azure = load_trace(FILES / "azure.csv")[1].reading
    assert azure.endswith(
        "azure.csv: format azure; TIMESTAMP is a date, in UTC if it names no zone; "
        "prompts are drawn of the given lengths, because the file has none"
    )
    assert "Timestamp is in seconds" in load_trace(FILES / "burstgpt.csv")[1].reading
    assert "lora_request is not used" in read_dataset(FILES / "trtllm-bench.jsonl").left_out.reading


def test_a_file_for_another_use_or_of_another_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"azure\.csv is a trace \(azure\), which has no prompts: replay it with mode: trace"):
        read_dataset(FILES / "azure.csv")
    with pytest.raises(WorkloadError, match="format azure is not that of a dataset: give one of trtllm-bench, sharegpt"):
        read_dataset(FILES / "azure.csv", "azure")
    with pytest.raises(TraceError, match="format sharegpt is not that of a trace: give one of azure, burstgpt, bailian, mooncake"):
        load_trace(FILES / "sharegpt.json", name="sharegpt")
    with pytest.raises(
        TraceError, match=r"burstgpt\.csv has not the columns of format azure \(TIMESTAMP, ContextTokens, GeneratedTokens\)"
    ):
        load_trace(FILES / "burstgpt.csv", name="azure")
    with pytest.raises(TraceError, match=r"is a table in text \(CSV\)"):
        (tmp_path / "other.csv").write_text("time,tokens\n1,2\n")
        load_trace(tmp_path / "other.csv")
    with pytest.raises(WorkloadError, match="output_tokens is missing, which trtllm-bench requires"):
        (tmp_path / "prompts.jsonl").write_text('{"task_id": 1, "prompt": "a"}\n')
        read_dataset(tmp_path / "prompts.jsonl", "trtllm-bench")
    assert read_dataset(tmp_path / "prompts.jsonl").rows == ((RawTurn("a"),),)


cells = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), max_size=12) | st.sampled_from(
    ["2023-11-16 18:15:46.6805900", "2023-02-30 00:00:00", "9" * 400, "-5", "1e5", "0", "12", "²"]
)


@pytest.mark.parametrize("name", [name for name, reader in READERS.items() if reader.columns])
@given(st.lists(st.lists(cells, max_size=4), max_size=5))
def test_any_cells_are_a_request_or_a_row_that_is_left_out(tmp_path_factory: pytest.TempPathFactory, name: str, lines: Any) -> None:
    path = tmp_path_factory.getbasetemp() / f"any-{name}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([READERS[name].columns, *lines])
    try:
        found, left_out = load_trace(path)
    except TraceError as error:
        assert str(path) in str(error) and len(str(error)) < 2000
    else:
        assert len(found) + left_out.count == left_out.rows
        assert all(one.input_tokens >= 1 and one.output_tokens >= 1 for one in found)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["text", "content", "role", "from", "value"]), inner),
    max_leaves=6,
)


@pytest.mark.parametrize("path", FORMATS, ids=lambda path: path.name)
@given(st.data())
def test_a_damaged_value_costs_its_row_at_most(tmp_path_factory: pytest.TempPathFactory, path: Path, data: st.DataObject) -> None:
    """One value of an example's first row becomes anything: the row is used or left out, and every other row is read as before."""
    if READERS[FORMATS[path]].columns:
        return
    name, rows = FORMATS[path], example_rows(path)
    key = data.draw(st.sampled_from(sorted(rows[0])))
    damaged = tmp_path_factory.getbasetemp() / f"damaged-{path.name}"
    damaged.write_text("\n".join(map(json.dumps, [rows[0] | {key: data.draw(values)}, *rows[1:]])))
    try:
        left_out = read_dataset(damaged, name).left_out if path in DATASETS else load_trace(damaged, name=name)[1]
    except (WorkloadError, TraceError) as error:
        assert str(damaged) in str(error)
    else:
        assert left_out.count <= left_out.rows


def example_rows(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".jsonl":
        return [json.loads(text) for _, text in read_lines_of(path)]
    whole = json.loads(path.read_text())
    return whole if isinstance(whole, list) else whole.get("data", [whole])
