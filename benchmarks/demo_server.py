"""The demo's INT8 engine on a real Triton, for the benchmarks beside this file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trtbench.engine.build import DEFAULT_OUTPUT, build_engine
from trtbench.engine.spec import BuildLog, Engine, EngineSpec
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository.model_repository import render
from trtbench.serving.server.installation import find_tritonserver
from trtbench.serving.server.server import TritonServer


@contextmanager
def demo_server() -> Iterator[tuple[TritonServer, Engine]]:
    engine = build_engine(EngineSpec(model="smollm2-135m", dtype="int8"), DEFAULT_OUTPUT, BuildLog(print)).engine
    repository = render(engine, Deployment(), Workload())
    with tempfile.TemporaryDirectory() as directory:
        root = repository.write(Path(directory) / "repository")
        with TritonServer(find_tritonserver(), root, Path(directory) / "server.log", repository.server_flags) as server:
            yield server, engine
