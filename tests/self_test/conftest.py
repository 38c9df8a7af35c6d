from __future__ import annotations

from collections.abc import Iterator

import pytest

from trtbench.self_test.servers import ReplayProcess, calibration_triton
from trtbench.serving.server.installation import TritonInstallation


@pytest.fixture(scope="session")
def replay() -> Iterator[str]:
    """A replay server's address."""
    with ReplayProcess() as server:
        yield server.url


@pytest.fixture(scope="session")
def triton(installation: TritonInstallation) -> Iterator[str]:
    """Address of a real Triton that serves the calibration model."""
    with calibration_triton(installation) as server:
        yield server.endpoints.grpc
