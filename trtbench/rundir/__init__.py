"""The border between measuring and reporting: run directories, written by the one and read by the other."""

from trtbench.rundir.directory import DeploymentDirectory, RunDirectory
from trtbench.rundir.lines import LineWriter, Loss, Losses, RunDirectoryError, read_json, read_lines, sample_row, write_json, write_whole
from trtbench.rundir.ragged import Ints, Mask, Ragged
from trtbench.rundir.requests import MISSING, Requests, Texts, Tokens, spread
from trtbench.rundir.samples import Samples, Series

__all__ = [
    "MISSING",
    "DeploymentDirectory",
    "Ints",
    "LineWriter",
    "Loss",
    "Losses",
    "Mask",
    "Ragged",
    "Requests",
    "RunDirectory",
    "RunDirectoryError",
    "Samples",
    "Series",
    "Texts",
    "Tokens",
    "read_json",
    "read_lines",
    "sample_row",
    "spread",
    "write_json",
    "write_whole",
]
