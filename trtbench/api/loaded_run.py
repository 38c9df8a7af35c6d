"""A finished or interrupted run, read from its directory: the summary, and tables of what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from os import PathLike
from pathlib import Path

import pandas as pd

from trtbench.analysis.summary import Summary, summarise
from trtbench.api.figure_tables import estimate_table, figure_table
from trtbench.api.tables import request_table, response_table, sample_table
from trtbench.errors import UserError
from trtbench.report.document import FORMATS, Format, write_reports
from trtbench.report.kit.words import LANGUAGES
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.records import Event
from trtbench.scenario.parts.choices import Language


class Run:
    """A run directory. Everything is read at its first use and kept; what is damaged in the directory is left out, and
    `summary.verdict` names it.

    The tables have one row a request, a sample or a response, over all deployments of the run. Instants are integer nanoseconds of the
    run's own monotonic clock, the same in all tables. `docs/python.md` lists the columns.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        """RunDirectoryError if `path` is not a run directory, or has a format that this version does not read."""
        self.path = Path(path)
        RunDirectory.open(self.path)

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @cached_property
    def summary(self) -> Summary:
        """All figures of the report as dataclasses, as in summary.json: the verdict, and for each deployment and stage latencies,
        throughput, batching, KV cache and resources; findings, comparisons, and what the experiment found.

        `summary.to_json()` gives plain dicts and lists. RunDirectoryError or ScenarioError when the directory cannot be summarised.
        """
        return summarise(RunDirectory.open(self.path))

    @cached_property
    def events(self) -> list[Event]:
        """The events of the run in order: engines built, servers started, stages begun and finished, reloads, interrupts."""
        return RunDirectory.open(self.path).events()

    @cached_property
    def requests(self) -> pd.DataFrame:
        """One row for each planned request, including warm-ups (`warmup`) and failed ones (`outcome`).

        A row takes about 300 bytes: a run of a million requests takes 0.3 GB. The instants of single tokens are in `responses()`.
        """
        return request_table(RunDirectory.open(self.path))

    @cached_property
    def samples(self) -> pd.DataFrame:
        """One row for each telemetry reading: deployment, name, label, time_ns, value; each series in time order.

        The unit is at the end of the series' name; docs/telemetry.md lists the series.
        """
        return sample_table(RunDirectory.open(self.path))

    @cached_property
    def figures(self) -> pd.DataFrame:
        """One row for each figure of each stage in each whole round; a run without `repeats` has one round.

        Figures have the names of docs/metrics.md, as ttft.p99, and values in the unit that the table names.
        """
        return figure_table(self.summary)

    @cached_property
    def estimates(self) -> pd.DataFrame:
        """One row for each figure of each stage over the rounds: the mean and half the width of its 95 % interval (Student's t)."""
        return estimate_table(self.summary)

    def responses(self, deployment: str | None = None, stage: str | None = None) -> pd.DataFrame:
        """One row for each response that carried tokens, with its arrival and its number of tokens.

        It is read from disk at each call, and not kept. A long run has millions of rows, about 60 bytes each: choose a deployment or a
        stage. UserError for a name that the run does not have.
        """
        return response_table(RunDirectory.open(self.path), deployment, stage)

    def report(self, language: Language = "en", formats: Sequence[Format] = FORMATS) -> list[Path]:
        """Write report.md, report.html with its plots, and summary.json into the run directory; returns their paths.

        `language`: en or zh. `formats`: any of md, html and json. UserError for another one, OSError when a file cannot be written.
        """
        for what, given, known in (("language", [language], LANGUAGES), ("formats", formats, FORMATS)):
            if unknown := [name for name in given if name not in known]:
                raise UserError(f"{what} {unknown[0]!r}: give {' or '.join(known)}")
        return write_reports(RunDirectory.open(self.path), self.summary, language, formats)


def load_run(path: str | PathLike[str]) -> Run:
    """The run in the directory `path`, finished or interrupted; RunDirectoryError when there is none.

    It needs no server, GPU or engine, and reads the directories of every earlier version.
    """
    return Run(path)
