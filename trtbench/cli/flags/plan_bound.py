"""What `trtbench bench` would send, looked at before the server is asked anything: its files and the size of its plan."""

from __future__ import annotations

from trtbench.cli.flags.explained import BENCH_FLAGS, in_flags
from trtbench.errors import UserError
from trtbench.plan.plan_size import check_plan_size
from trtbench.plan.sources.datasets import read_dataset
from trtbench.run.resolve.preflight import check_open_files
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.scenario import Scenario


def check_plan(scenario: Scenario) -> None:
    """UserError, by the names of the flags, for a plan that is too large and for an --input-file that cannot be read."""
    for kind in scenario.workload.kinds.values():
        if kind.dataset:
            read_dataset(kind.dataset.path)
    try:
        check_plan_size(scenario, scenario.load)
        check_open_files(scenario)
    except ScenarioError as error:
        raise UserError(in_flags(str(error), BENCH_FLAGS)) from error
