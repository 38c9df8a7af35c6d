"""The telemetry of a run as a table. docs/telemetry.md lists the series."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from trtbench.api.joined import joined, repeated
from trtbench.rundir import DeploymentDirectory, RunDirectory, Samples


def sample_table(run: RunDirectory) -> pd.DataFrame:
    """One row a reading, by deployment, series and time."""
    directories = run.deployments() or [DeploymentDirectory(run.path)]  # which has no samples, but the columns
    return joined([table for directory in directories for table in _of_deployment(directory)])


def _of_deployment(directory: DeploymentDirectory) -> Iterator[pd.DataFrame]:
    samples = directory.samples()
    yield _series("", "", "", samples)
    for name in samples.names():
        for label in samples.labels(name):
            yield _series(directory.name, name, label, samples)


def _series(deployment: str, name: str, label: str, samples: Samples) -> pd.DataFrame:
    times_ns, values = samples.series(name, label)
    texts = {"deployment": deployment, "name": name, "label": label}
    columns = {column: repeated(text, len(times_ns)) for column, text in texts.items()}
    table: pd.DataFrame = pd.DataFrame(columns | {"time_ns": times_ns, "value": values})
    return table
