"""The run with which another is compared if no base is given."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.support.runs.compared_run import write_compared_run
from trtbench.cli.main import main
from trtbench.compare.baseline import BASELINES, baseline_for, baselines_of, set_baseline
from trtbench.errors import UserError

pytestmark = pytest.mark.whole_run


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for seed, name in enumerate(("first", "second", "third")):
        write_compared_run(tmp_path / name, seed, requests=40)
    return tmp_path


def test_a_baseline_replaces_the_earlier_one_of_its_scenario_and_machine(runs: Path) -> None:
    set_baseline(runs / "first")
    write_compared_run(runs / "other", 4, requests=40, scenario={"name": "other"})
    set_baseline(runs / "other")
    set_baseline(runs / "second")
    assert [(one.scenario, one.run) for one in baselines_of(runs)] == [("other", "other"), ("compared", "second")]
    assert baseline_for(runs / "third") == runs.resolve() / "second"
    assert list(runs.glob("*.tmp")) == []


def test_a_missing_baseline_is_said_with_the_remedy(runs: Path) -> None:
    with pytest.raises(UserError, match="compared has no baseline on its machine: set one by `trtbench baseline set RUN`"):
        baseline_for(runs / "first")
    set_baseline(runs / "first")
    with pytest.raises(UserError, match="is itself the baseline"):
        baseline_for(runs / "first")
    (runs / "first").rename(runs / "moved")
    with pytest.raises(UserError, match="does not exist"):
        baseline_for(runs / "second")


@pytest.mark.parametrize("content", ["{", "[1]", '[{"scenario": "compared", "machine": "0", "run": "../../etc"}]', '[{"run": "first"}]'])
def test_a_file_that_names_no_runs_is_refused(runs: Path, content: str) -> None:
    (runs / BASELINES).write_text(content)
    with pytest.raises(UserError, match=r"baselines\.json"):
        baseline_for(runs / "first")


def test_compare_takes_the_baseline_if_one_run_is_given(runs: Path) -> None:
    assert (
        CliRunner().invoke(main, ["baseline", "set", str(runs / "first")]).output
        == "first is the baseline of compared on machine 000000000000\n"
    )
    assert "first" in CliRunner().invoke(main, ["baseline", "show", "--runs", str(runs)]).output
    done = CliRunner().invoke(main, ["compare", str(runs / "second"), "--metric", "ttft.p50"])
    assert done.exit_code == 0 and done.stdout.startswith("first compared with second")
    assert json.loads((runs / BASELINES).read_text())[0]["run"] == "first"
