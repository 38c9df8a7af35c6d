"""The servers to calibrate against: a Triton of our own, or one that runs already."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trtbench.client.kserve.target import Target, TargetError, inspect_target
from trtbench.self_test.description import DIRECTORY, MODEL
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.server import TritonServer
from trtbench.system.leftovers import temporary_directory


@contextmanager
def calibration_triton(installation: TritonInstallation) -> Iterator[TritonServer]:
    """A Triton that serves the calibration model and nothing else. ServerError when it does not start."""
    with temporary_directory() as directory:
        repository = Path(directory) / "model_repository"
        shutil.copytree(DIRECTORY, repository / MODEL, ignore=shutil.ignore_patterns("__pycache__"))
        flags = ("--disable-auto-complete-config",)
        with TritonServer(installation, repository, Path(directory) / "server.log", flags) as server:
            yield server


def running_target(url: str) -> Target:
    """The calibration model of a server that runs already; TargetError with the remedy when it has none."""
    try:
        return inspect_target(url, MODEL)
    except TargetError as error:
        remedy = f"the server under --url must serve the calibration model: copy {DIRECTORY} into its model repository and load it"
        raise TargetError(f"{error}\n{remedy}") from error
