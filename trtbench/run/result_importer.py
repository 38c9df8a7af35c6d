"""The role of an experiment that makes run directories of what other tools measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from trtbench.experiments.registry import Role
from trtbench.rundir.directory import RunDirectory

Import = Callable[[Path, Path | None, Path, list[str]], tuple[RunDirectory, str]]
"""(The report, its log of iterations or None, the directory of runs, the command) -> (the run directory, a sentence on the log)."""


@dataclass(frozen=True)
class ResultImporter(Role):
    """The object `IMPORTER` in `importer.py` of an experiment: what imports the report of each tool, by the tool's name."""

    MODULE: ClassVar[str] = "importer"

    tools: Mapping[str, Import]
