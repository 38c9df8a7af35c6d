"""`trtbench capacity`: the scenario that its flags describe, and searches of servers that already run."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.support.fakes.fake_openai import Manners, serving_openai
from trtbench.analysis.summary import summarise
from trtbench.cli.main import main
from trtbench.experiments.capacity.capacity_found import CAPACITY, CapacityFound
from trtbench.rundir.directory import RunDirectory
from trtbench.scenario.reading import load_scenario


def capacity(*args: str) -> Result:
    return CliRunner().invoke(main, ["capacity", *args], catch_exceptions=False)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ((), "give a SCENARIO"),
        (("--url", "localhost:1", "--model", "m"), "--url, --model and --slo"),
        (("quickstart",), "has no search (capacity): give --slo"),
        (("quickstart", "--slo", "ttft:fast"), "is not a clause of an SLO: write NAME:MILLISECONDS"),
        (("quickstart", "--slo", "ttft:500,p30"), "must be a number from 50 to 99.99"),
        (("quickstart", "--slo", "ttft:500", "ttft:300,p99"), "two clauses have the same latency"),
        (("quickstart", "--slo", "ttft:500", "--start", "1.5"), "is a number of users"),
        (("quickstart", "--slo", "ttft:500", "--start", "64", "--most", "8"), "start (64) has to be between"),
        (("quickstart", "--slo", "ttft:500", "--probe-duration", "1"), "from 6 to 86,400"),
        (("quickstart", "--slo", "ttft:500", "--isl", "64"), "leave out --isl"),
        (("quickstart", "--slo", "ttft:500", "--set", "repeats=3"), "capacity and repeats exclude each other"),
        (("quickstart", "--slo", "ttft:500", "--set", "stop.stability={}"), "stop.stability and capacity exclude each other"),
        (("encoder", "--slo", "tpot:50"), "has no tpot"),
        (("long-context", "--slo", "ttft:500"), "context_limit and capacity exclude each other"),
    ],
)
def test_what_cannot_be_searched_is_refused(args: tuple[str, ...], said: str) -> None:
    done = capacity(*args, "--dry-run")
    assert done.exit_code == 2 and said in done.output, done.output


def test_a_dry_run_has_the_plan_and_its_longest_time() -> None:
    done = capacity("--url", "localhost:1", "--model", "m", "--slo", "ttft:500,p99", "--by", "rate", "--probe-duration", "2m", "--dry-run")
    assert done.exit_code == 0, done.output
    assert "searches the most requests/s that keep ttft:500,p99" in done.output
    assert "at most 12 probes" in done.output and "48 min" in done.output


@pytest.fixture
def in_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def the_search(path: Path) -> CapacityFound:
    (run,) = (path / "runs").iterdir()
    found = summarise(RunDirectory.open(run)).deployments[0].found[CAPACITY]
    assert found
    return found


FAST = ("--isl", "8", "--osl", "4", "--probe-duration", "8", "--probe-requests", "120", "--quiet")


@pytest.mark.process
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("sketched_figures")
def test_an_http_endpoint_by_rate(in_a_directory: Path) -> None:
    with serving_openai(Manners(makes_tokens=4)) as server:
        slo = ("--slo", "e2e:60s,p50", "--by", "rate", "--start", "8", "--most", "16")
        done = capacity("--url", f"{server.url}/v1", "--model", "m", "--endpoint-type", "completions", *slo, *FAST)
    assert done.exit_code in (0, 4), done.output
    found = the_search(in_a_directory)
    assert (found.by, found.ended, found.outcome.answer) == ("rate", "done", "never_breaks")
    assert [(probe.level, probe.verdict, probe.phase) for probe in found.probes] == [
        (8, "holds", "bracket"),
        (16, "holds", "bracket"),
        (16, "holds", "confirm"),
    ]
    assert "at every load that was tried" in done.output
    (run,) = (in_a_directory / "runs").iterdir()
    assert load_scenario(run / "scenario.yaml").endpoint


@pytest.mark.process
@pytest.mark.timeout(120)
@pytest.mark.usefixtures("sketched_figures")
def test_an_slo_that_no_load_keeps(in_a_directory: Path) -> None:
    with serving_openai(Manners(makes_tokens=4)) as server:
        slo = ("--slo", "e2e:0.001,p50", "--start", "2")
        done = capacity("--url", f"{server.url}/v1", "--model", "m", "--endpoint-type", "completions", *slo, *FAST)
    assert done.exit_code in (0, 4), done.output
    found = the_search(in_a_directory)
    assert [probe.level for probe in found.probes] == [2, 1] and found.outcome.bracket.holds is None
    for probe in found.probes:  # on a busy machine the client may be late, which forbids the verdict
        assert probe.broken_by == ("e2e:0.001,p50",) and probe.clauses[0].kept_ratio == 0
        assert probe.verdict == "breaks" or (probe.verdict == "unusable" and probe.doubts)
    (run,) = (in_a_directory / "runs").iterdir()
    stages = {record.stage for record in RunDirectory.open(run).deployments()[0].requests()}
    assert stages == {probe.stage for probe in found.probes}
