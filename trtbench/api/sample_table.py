"""The telemetry of a run as a table. docs/telemetry.md lists the series."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from trtbench.api.joined import joined, repeated
from trtbench.rundir import DeploymentDirectory, RunDirectory, Series


def sample_table(run: RunDirectory) -> pd.DataFrame:
    """One row a reading, by deployment, series and time."""
    directories = run.deployments() or [DeploymentDirectory(run.path)]  # which has no samples, but the columns
    return joined([table for directory in directories for table in _of_deployment(directory)])


def _of_deployment(directory: DeploymentDirectory) -> Iterator[pd.DataFrame]:
    yield _table("", "", "", (np.empty(0, np.int64), np.empty(0, np.float64)))
    for name, label, series in directory.samples().each():
        yield _table(directory.name, name, label, series)


def _table(deployment: str, name: str, label: str, series: Series) -> pd.DataFrame:
    times_ns, values = series
    texts = {"deployment": deployment, "name": name, "label": label}
    columns = {column: repeated(text, len(times_ns)) for column, text in texts.items()}
    table: pd.DataFrame = pd.DataFrame(columns | {"time_ns": times_ns, "value": values})
    return table
