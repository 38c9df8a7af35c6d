from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any, get_args

import pytest
from click.testing import CliRunner, Result

from trtbench.cli.dataset import DATASET_EXAMPLES
from trtbench.cli.main import main
from trtbench.plan.dataset_lines import DATASET_FORMATS
from trtbench.plan.sources.datasets import read_dataset
from trtbench.plan.sources.readers import READERS
from trtbench.plan.sources.trace import read_trace
from trtbench.scenario.parts.choices import WrittenDataset

pytestmark = pytest.mark.whole_run


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["dataset", *map(str, arguments)])


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("line", [line.strip() for line in DATASET_EXAMPLES.splitlines() if line.startswith("  ")])
def test_the_examples_of_help_run(line: str, tmp_path: Path) -> None:
    output = tmp_path / shlex.split(line)[-1]
    done = run(*shlex.split(line)[2:-1], output)
    assert done.exit_code == 0, done.output
    assert f"{len(lines(output))} requests" in done.stdout and "not in this file: " in done.stderr


def test_every_written_format_is_one_that_is_read() -> None:
    assert get_args(WrittenDataset) == tuple(DATASET_FORMATS) and set(DATASET_FORMATS) < set(READERS)


def test_what_is_written_is_read_as_it_was_planned(tmp_path: Path) -> None:
    path = tmp_path / "d.jsonl"
    drawn = ("--isl", "4:9", "--osl", 7, "--num-prefix-prompts", 1, "--prefix-prompt-length", 3, "--num-prompts", 20, "--random-seed", 5)
    assert run("--format", "trtllm-bench", "--vocab-size", 50, *drawn, "--output", path).exit_code == 0
    rows = lines(path)
    assert [row["task_id"] for row in rows] == list(range(20))
    assert len({tuple(row["input_ids"][:3]) for row in rows}) == 1
    assert all(7 <= len(row["input_ids"]) <= 12 and max(row["input_ids"]) < 50 and row["output_tokens"] == 7 for row in rows)
    found = read_dataset(path)
    assert [(turns[0].prompt, turns[0].answer) for turns in found.rows] == [(row["input_ids"], row["output_tokens"]) for row in rows]
    assert list(found.left_out.formats) == ["trtllm-bench"] and found.left_out.count == 0
    again = tmp_path / "again.jsonl"
    run("--format", "trtllm-bench", "--vocab-size", 50, *drawn, "--output", again)
    assert again.read_bytes() == path.read_bytes()


def test_a_trace_keeps_arrivals_and_lengths(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    assert run("--format", "mooncake", "--request-rate", 4, "--isl", 9, "--num-prompts", 30, "--output", path).exit_code == 0
    trace = read_trace(path)
    assert [one.time_ns for one in trace] == [round(1e6 * row["timestamp"]) for row in lines(path)]
    assert {(one.input_tokens, one.output_tokens) for one in trace} == {(9, 32)}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--format", "mooncake"], "stage c1 is a closed loop, which has no arrival times: give a rate (--request-rate)"),
        (["--format", "mooncake", "quickstart"], "a trace has one stage and this load has"),
        (["--format", "trtllm-bench", "--isl", "0"], "--isl 0: must be"),
        (["--format", "trtllm-bench", "quickstart", "--isl", "5"], "quickstart says what the requests are: leave out --isl, or change it"),
        (["--format", "trtllm-bench", "--set", "a=1"], "--set changes a SCENARIO, and none is given"),
        (["--format", "trtllm-bench", "quickstart", "--set", "workload.sessions={turns: 2}"], "workload.sessions: a turn repeats answers"),
        (["--format", "trtllm-bench", "--input-file", "none.jsonl"], "none.jsonl cannot be read"),
        (["--format", "trtllm-bench", "--tokenizer", "nowhere"], "no such file"),
    ],
)
def test_what_cannot_be_written_is_refused(arguments: list[str], says: str, tmp_path: Path) -> None:
    done = run(*arguments, "--output", tmp_path / "out.jsonl")
    assert done.exit_code != 0
    assert says in f"{done.output} {done.exception}"
    assert list(tmp_path.iterdir()) == []
