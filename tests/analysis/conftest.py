from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))

from synthetic_run import SyntheticRun, write_synthetic_run

from trtbench.analysis.summary import Summary, summarise
from trtbench.rundir import RunDirectory


@pytest.fixture(scope="session")
def synthetic(tmp_path_factory: pytest.TempPathFactory) -> SyntheticRun:
    return write_synthetic_run(tmp_path_factory.mktemp("synthetic") / "run")


@pytest.fixture(scope="session")
def summary(synthetic: SyntheticRun) -> Summary:
    return summarise(RunDirectory.open(synthetic.run.path))
