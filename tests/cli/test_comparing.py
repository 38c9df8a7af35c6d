"""`trtbench compare` on runs with planted latencies: what it prints, writes and with which code it ends."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner, Result

from tests.support.runs.compared_run import write_compared_run
from trtbench.cli.main import main

pytestmark = pytest.mark.whole_run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`base`, the same again with other draws (`same`), 30 % slower (`slow`), with failures (`failing`), and some not comparable."""
    path = tmp_path_factory.mktemp("runs")
    write_compared_run(path / "base", 1)
    write_compared_run(path / "same", 2)
    write_compared_run(path / "slow", 3, factor=1.3)
    write_compared_run(path / "failing", 4, failing=40)
    write_compared_run(path / "all-failed", 8, failing=400)
    write_compared_run(path / "on-gpu", 5, gpu=True)
    write_compared_run(path / "other-plan", 6, scenario={"seeds": {"lengths": 9}})
    write_compared_run(path / "other-load", 7, users=2)
    return path


def compared(runs: Path, *arguments: str) -> Result:
    paths = [str(runs / one) if (runs / one).is_dir() else one for one in arguments]
    return CliRunner().invoke(main, ["compare", *paths])


def test_a_slower_run_is_worse_and_an_equal_one_is_not(runs: Path) -> None:
    slow, same = compared(runs, "base", "slow"), compared(runs, "base", "same")
    (line,) = (line for line in slow.stdout.splitlines() if "ttft.p50" in line)
    assert "worse" in line
    assert slow.exit_code == same.exit_code == 0
    assert "worse" not in same.stdout and "better" not in same.stdout


@pytest.mark.parametrize(
    ("candidate", "conditions", "code"),
    [
        ("slow", ["ttft.p50>+5%"], 5),
        ("slow", ["output_token_throughput<-3%", "error_ratio>5%"], 5),
        ("same", ["ttft.p50>+15%", "error_ratio>5%"], 0),
        ("same", ["ttft.p99>+5%"], 6),
        ("same", ["ttft.p50>+0.1%"], 6),
        ("same", ["c99:ttft.p50>+15%"], 2),
        ("failing", ["error_ratio>5%"], 5),
        ("failing", ["error_ratio>+2pp"], 5),
        ("slow", ["e2e_latency.p90>20ms"], 5),
        ("same", ["energy_per_token>+5%"], 6),
    ],
)
def test_the_exit_code_is_that_of_the_conditions(runs: Path, candidate: str, conditions: list[str], code: int) -> None:
    flags = [word for condition in conditions for word in ("--fail-on", condition)]
    done = compared(runs, "base", candidate, *flags)
    assert done.exit_code == code, done.output


def test_bad_input_ends_with_2_before_a_run_is_read(runs: Path) -> None:
    for flags in (["--fail-on", "tftt.p99>+5%"], ["--metric", "latency"], ["--fail-on", "ttft.p99>5%"]):
        done = compared(runs, "nowhere", "nothing", *flags)
        assert done.exit_code == 2
        assert flags[0] in done.stderr
    for flags in (["--threshold", "-1"], ["--html", str(runs)], ["--junit", str(runs / "none" / "x.xml")]):
        done = compared(runs, "base", "same", *flags)
        assert done.exit_code == 2
        assert flags[0] in done.stderr
    done = compared(runs, "base", "nowhere")
    assert done.exit_code == 2
    assert "not a run directory" in done.stderr


@pytest.mark.parametrize("condition", ["c99:ttft.p99>+5%", "zz/c8:ttft.p99>+5%"])
def test_a_condition_on_a_stage_that_does_not_exist_names_those_that_do(runs: Path, condition: str) -> None:
    done = compared(runs, "base", "same", "--fail-on", condition)
    assert done.exit_code == 2
    assert f"--fail-on {condition}: no run has such a stage; the stages are " in done.stderr


@pytest.mark.parametrize(
    ("other", "fact"), [("on-gpu", "NVIDIA H100"), ("other-plan", "seeds.lengths is 2"), ("other-load", "No deployment")]
)
def test_runs_of_other_things_are_refused(runs: Path, other: str, fact: str) -> None:
    done = compared(runs, "base", other)
    assert done.exit_code == 3
    assert fact in done.stderr
    forced = compared(runs, "base", other, "--force")
    assert forced.exit_code == (3 if other == "other-load" else 0)
    assert other == "other-load" or "--force compares them nevertheless" in forced.stdout.splitlines()[1]


def test_an_invalid_run_ends_with_4(runs: Path) -> None:
    """Nothing completed in it."""
    done = compared(runs, "base", "all-failed", "--metric", "error_ratio", "--fail-on", "error_ratio>5%")
    assert done.exit_code == 4, done.stdout
    assert "INVALID" in done.stdout.splitlines()[1]
    assert compared(runs, "base", "all-failed", "--force", "--fail-on", "error_ratio>5%").exit_code == 5


def test_json_has_every_difference_and_junit_every_condition(runs: Path, tmp_path: Path) -> None:
    files = ["--json", str(tmp_path / "c.json"), "--junit", str(tmp_path / "c.xml")]
    conditions = ["--fail-on", "ttft.p50>+15%", "--fail-on", "ttft.p99>+5%", "--fail-on", "error_ratio>50%"]
    done = compared(runs, "base", "slow", "same", *conditions, *files)
    assert done.exit_code == 5
    found = json.loads((tmp_path / "c.json").read_text())
    slow, same = found["candidates"]
    (ttft,) = (one for one in slow["differences"] if one["metric"] == "ttft.p50")
    low, high = ttft["change_interval"]
    assert low < ttft["change_ratio"] < high and ttft["call"] == "worse" and ttft["unit"] == "ns"
    assert ttft["candidate"] / ttft["base"] - 1 == pytest.approx(ttft["change_ratio"])
    assert found["outcome"] == "failed" and len(found["gates"]) == 6
    suite = ElementTree.parse(tmp_path / "c.xml").getroot()
    assert {name: suite.get(name) for name in ("tests", "failures", "errors")} == {"tests": "6", "failures": "1", "errors": "2"}
    (failure,) = suite.iter("failure")
    assert "+" in failure.get("message") and same["run"] == "same"


@pytest.mark.parametrize("language", ["en", "zh"])
def test_pages_have_the_tables_and_html_the_curves(runs: Path, tmp_path: Path, language: str) -> None:
    files = ["--html", str(tmp_path / "c.html"), "--markdown", str(tmp_path / "c.md"), "--lang", language]
    assert compared(runs, "base", "slow", "same", "--metric", "ttft.p50", "--fail-on", "ttft.p50>+5%", *files).exit_code == 5
    html, markdown = ((tmp_path / f"c.{ending}").read_text() for ending in ("html", "md"))
    for page in (html, markdown):
        assert page.count("ttft.p50, ms") == 2
        assert ("FAILED" if language == "en" else "未通过") in page
    assert html.count("<svg") == 2 and "curves-1" in html
    assert "plots/" not in markdown


def test_texts_of_a_run_cannot_steer_the_terminal(runs: Path) -> None:
    done = compared(runs, "base", "slow", "--fail-on", "c\x1b[31m:ttft.p50>+5%")
    assert "\x1b" not in done.stdout + done.stderr
