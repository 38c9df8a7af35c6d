"""WRITERS, the formats that a run can be exported to, and the export of a run: a folder for each stage of each deployment."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from trtbench.analysis.loader import RecordedRun
from trtbench.errors import UserError, naming
from trtbench.export.aiperf import AIPERF
from trtbench.export.exported_stage import exported_stages
from trtbench.export.requests_csv import REQUESTS_CSV
from trtbench.export.trtllm_bench import TRTLLM_BENCH
from trtbench.export.vllm import VLLM
from trtbench.export.writer import Writer
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.lines import RunDirectoryError, write_whole

WRITERS: dict[str, Writer] = {writer.name: writer for writer in (TRTLLM_BENCH, AIPERF, VLLM, REQUESTS_CSV)}


def export_run(path: Path, writer: Writer, output: Path) -> Iterator[Path]:
    """Write the files of every stage to `output`/DEPLOYMENT/STAGE; yields their paths.

    UserError if `path` is not a run directory, has no requests, or `output` exists; OSError if a file cannot be written. At the end
    RunDirectoryError if requests could not be read, so that the files lack them.
    """
    run = RecordedRun(RunDirectory.open(path))
    if output.exists():
        raise UserError(f"--output {output}: this path exists; name a new directory")
    found = False
    for stage in exported_stages(run):
        found = True
        folder = output / _folder(stage.deployment) / _folder(stage.name)
        with naming(folder):
            folder.mkdir(parents=True)
        for name, content in writer.files(stage).items():
            write_whole(folder / name, content.encode())
            yield folder / name
    if not found:
        raise UserError(f"{path} has no measured requests, so there is nothing to export")
    if lost := [loss for loss in run.losses if Path(loss.file).name.startswith("requests") and loss.what != "torn"]:
        damaged = ", ".join(dict.fromkeys(f"{loss.file} ({loss.what})" for loss in lost))
        raise RunDirectoryError(f"{path} is damaged: {damaged}; the files written here lack these requests")


def _folder(name: str) -> str:
    """A name of the run as that of a folder; RunDirectoryError for one that would lead elsewhere."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}", name):
        raise RunDirectoryError(
            f"the run has a stage or deployment of the name {name[:60]!r}, which cannot be a folder: the run is damaged"
        )
    return name
