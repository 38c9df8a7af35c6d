"""Flags of other tools: each row of the table is what the command line does, and what docs/coming-from.md shows."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from trtbench.cli import building, commands
from trtbench.cli.flags.foreign import BENCH, BUILD, OF_COMMAND, Foreign
from trtbench.cli.flags.translation import TranslatedCommand
from trtbench.cli.flags.values import duration, levels
from trtbench.cli.main import main

PAGE = Path(__file__).parents[3] / "docs" / "coming-from.md"
FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")
VALUES = {
    "--batch-size": "2",
    "--measurement-interval": "500",
    "--stability-percentage": "20",
    "--isl": "64",
    "--osl": "64",
    "--isl-stddev": "3",
    "--osl-stddev": "3",
    "--url": "here:8001",
    "--endpoint-type": "generate",
    "--model": "other",
    "--model-version": "3",
    "--concurrency": "4",
    "--request-rate": "2",
    "--arrival-pattern": "constant",
    "--request-count": "7",
    "--benchmark-duration": "9",
    "--request-timeout": "9",
    "--warmup-request-count": "2",
    "--random-seed": "5",
    "--num-prefix-prompts": "2",
    "--prefix-prompt-length": "8",
    "--goodput": "ttft:500",
    "--tp": "2",
    "--pp": "2",
    "--kv-dtype": "fp8",
    "--calibration-samples": "8",
    "--kv-block-tokens": "64",
}
"""A value of each of our flags that is not its default; `a-file` for those that are not named."""

TYPED_FROM_MEMORY = {
    *("--percentile", "--extra-inputs", "--host", "--shape", "--dataset-name", "--random-input-len", "--random-output-len"),
    *("-m", "-u", "-i", "-b", "-f", "-v", "--measurement-interval"),
    *("--stability-percentage", "--export-level", "--ignore-eos", "--dataset-path", "--service-kind", "--backend", "--endpoint-type"),
    *(
        "--save-result",
        "--metric-percentiles",
        "--concurrency-range",
        "--request-rate-range",
        "--measurement-request-count",
        "--input-data",
        "--collect-metrics",
    ),
    *("--num-requests", "--num-warmups", "--seed", "--duration", "--base-url"),
}


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


@pytest.fixture
def handed_on(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """What a command line hands on to its command."""

    def parse(command: str, *arguments: str) -> dict[str, Any]:
        seen: list[Any] = []
        monkeypatch.setattr(commands, "bench_command", lambda **flags: seen.append(flags) or 0)
        monkeypatch.setattr(building, "build_command", lambda *given: seen.append({"given": given}) or 0)
        needed = ("--url", "127.0.0.1:8001", "--model", "tensorrt_llm") if command == "bench" else ("smollm2-135m",)
        result = invoke(command, *needed, *arguments)
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = seen[0]
        return found

    return parse


def rows() -> list[Any]:
    return [pytest.param(command, row, id=f"{command} {row.theirs}") for command, table in OF_COMMAND.items() for row in table]


def options(command: str) -> set[str]:
    return {flag for option in main.commands[command].params for flag in (*option.opts, *option.secondary_opts)}


@pytest.mark.parametrize(("command", "row"), rows())
def test_what_the_table_says_is_what_happens(command: str, row: Foreign, handed_on: Callable[..., dict[str, Any]]) -> None:
    for word in row.words:
        assert handed_on(command, row.theirs, word) == handed_on(command)
    if not row.ours or row.reads == "only":
        result = invoke(command, row.theirs, *(["elsewhere"] if row.words else []))
        assert result.exit_code == 2
        assert result.stderr.startswith(f"trtbench: {row.theirs}")
        assert row.says in result.stderr
        assert len(result.stderr.splitlines()) == 1
        return
    ours = row.ours.split(" ")
    value = VALUES.get(ours[-1].split("=")[0], "a-file")
    typed = [row.theirs, value] if "{}" in row.ours else [row.theirs]
    assert handed_on(command, *typed) == handed_on(command, *(word.replace("{}", value) for word in ours))
    if row.theirs.startswith("--") and "{}" in row.ours:
        assert handed_on(command, f"{row.theirs.replace('-', '_').replace('__', '--')}={value}") == handed_on(command, *typed)


@pytest.mark.parametrize(("command", "row"), rows())
def test_a_row_names_flags_that_there_are(command: str, row: Foreign) -> None:
    assert row.theirs not in options(command)
    assert bool(row.ours) != bool(row.says) or row.reads == "only"
    assert row.ours or row.says
    there = options("bench") | options("build") | options("serve-and-bench")
    assert set(FLAG.findall(f"{row.ours} {row.says}")) <= there


def test_each_flag_has_one_row() -> None:
    for table in (BENCH, BUILD):
        assert len({row.theirs for row in table}) == len(table)


def test_the_flags_that_people_type_from_memory_are_known() -> None:
    assert options("bench") | {row.theirs for row in BENCH} >= TYPED_FROM_MEMORY


def line(row: Foreign) -> str:
    """A row of the page."""
    how = {"duration": " (30, 30s, 2m or 1h)", "range": " (START:END:STEP becomes levels)", "rates": " (START:END:STEP becomes levels)"}
    ours = f"`{row.ours.replace('={}', ' VALUE').replace('=', ' ')}`{how.get(row.reads, '')}" if row.ours else ""
    dropped = f"`{'`, `'.join(row.words)}`: as it is here" if row.words else ""
    return f"| `{row.theirs}` | {row.tools} | {'; '.join(filter(None, (dropped, ours, row.says)))} |"


def test_the_page_and_the_table_agree() -> None:
    """When it fails, the lines that it expects are those for the page."""
    shown = [text for text in PAGE.read_text("utf-8").splitlines() if text.startswith("| `-")]
    assert shown == [line(row) for row in (*BENCH, *BUILD)]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("bench", "--concurency", "4"), "no such option --concurency of `trtbench bench`; did you mean --concurrency"),
        (("bench", "--tls-c"), "did you mean --tls-ca or --tls-cert?"),
        (("bench", "-k"), "no such option -k of `trtbench bench`; `trtbench bench --help` lists the flags"),
        (
            ("serve-and-bench", "quickstart", "--concurrency", "4"),
            "the scenario holds what is built, served and sent: --set KEY.PATH=VALUE",
        ),
        (("gpu", "lock", "--power", "300"), "of `trtbench gpu lock`; did you mean --power-limit?"),
        (("bench", "--isl", "--osl", "4"), "--isl: needs a value"),
        (("bench", "--random-input-len"), "--random-input-len: needs a value; it is --isl here"),
        (("bench", "-m"), "-m: needs a value; it is --model here"),
        (("bench", "--duration", "long"), "--duration long: not a duration; write seconds, as 30, or 30s, 2m, 1h"),
        (("bench", "--concurrency-range", "8:1"), "--concurrency-range 8:1: END must be at least START"),
        (("bench", "--concurrency-range", "1:0"), "an END of 0 searches without end"),
        (("bench", "--concurrency-range", "1:1000:1"), "1000 levels, at most 64 are possible; raise STEP"),
        (("bench", "--concurrency-range", "one"), "write START:END:STEP, as 1:8:2"),
    ],
)
def test_a_flag_that_is_not_there_gets_a_hint(arguments: tuple[str, ...], says: str) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("trtbench: ") and says in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_fault_of_a_translated_flag_names_both() -> None:
    result = invoke("bench", "-u", "127.0.0.1:1", "-m", "m", "--random-input-len", "3x")
    assert result.exit_code == 2
    assert result.stderr == "trtbench: --isl 3x: not a whole number (--random-input-len is --isl here)\n"


def test_values_are_read_as_their_tools_write_them() -> None:
    assert [duration("-d", text) for text in ("30", "30s", "1.5m", "1h", "500ms", "1m30s")] == ["30", "30", "90", "3600", "0.5", "90"]
    assert [levels("-c", text) for text in ("4", "1:4", "1:8:2", "10:12.5:0.5")] == ["4", "1,2,3,4", "1,3,5,7", "10,10.5,11,11.5,12,12.5"]


def test_short_and_long_forms_with_and_without_a_space(handed_on: Callable[..., dict[str, Any]]) -> None:
    forms = (("-c", "4"), ("-c4",), ("-c=4",), ("--users=4",), ("--concurrency-range", "4"), ("--max_concurrency", "4"))
    assert [handed_on("bench", *form)["concurrency"] for form in forms] == ["4"] * len(forms)


@pytest.mark.parametrize("flag", ["--goodput", "-g"])
def test_an_option_of_many_words_ends_at_the_next_flag(flag: str, handed_on: Callable[..., dict[str, Any]]) -> None:
    found = handed_on("bench", flag, "ttft:500", "tpot:50", "--isl", "64", "--goodput=e2e:9000", "itl:80")
    assert found["goodput"] == ("ttft:500 tpot:50", "e2e:9000 itl:80")
    assert found["isl"] == "64"


def test_words_after_two_dashes_are_left_alone() -> None:
    result = invoke("bench", "--url", "x:1", "--model", "m", "--", "-m")
    assert result.exit_code == 2
    assert "unexpected extra argument" in result.stderr


def test_every_command_but_the_groups_translates() -> None:
    def walk(group: click.Group) -> None:
        for command in group.commands.values():
            walk(command) if isinstance(command, click.Group) else None
            assert isinstance(command, (click.Group, TranslatedCommand))

    walk(main)
