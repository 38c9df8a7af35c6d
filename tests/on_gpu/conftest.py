from __future__ import annotations

import pytest

from tests.on_gpu.nodes import Node, fake_node, real_node

ON_BOTH = [
    pytest.param("stand-in"),
    pytest.param("gpu", marks=[pytest.mark.gpu, pytest.mark.timeout(1800)]),  # ends before by the time limit of what it starts
]


@pytest.fixture(scope="session", params=ON_BOTH)
def node(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Node:
    """Every test on it runs twice: here on stand-ins, and as it is by `make test-gpu`."""
    root = tmp_path_factory.mktemp(request.param)
    return real_node(root) if request.param == "gpu" else fake_node(root)
