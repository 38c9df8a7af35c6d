"""A machine with a GPU, Triton and TensorRT-LLM: the one that the tests run on, or one of stand-ins. One test body serves both."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.contracts.stub import UNWRITABLE, environment, write_stub
from tests.on_gpu.tiny import write_checkpoint
from tests.support.command import WITHOUT_FIGURES, ran
from tests.support.engines.trtllm_engines import write_templates
from tests.support.fakes.fake_gpu import ROOT, FakeGpus, compile_fakes
from trtbench.engine.build import DEFAULT_OUTPUT
from trtbench.engine.spec import Engine
from trtbench.engine.tensorrt_llm.provider import nvidia_stack_missing
from trtbench.engine.tensorrt_llm.versions import TensorRtLlm, installed
from trtbench.rundir.directory import RunDirectory
from trtbench.serving.repository.tensorrt_llm.config import find_templates
from trtbench.serving.server.installation import InstallationError, find_tritonserver
from trtbench.system.cuda import visible_gpus

TESTS = ROOT / "tests"
VERSION = "1.2.1"
BUILD = {"max_batch_size": 16, "max_seq_len": 1024, "max_num_tokens": 512}
FLAGS = tuple(word for name, value in BUILD.items() for word in (f"--{name.replace('_', '-')}", str(value)))
KV_BLOCKS = 128
"""4,096 tokens: 4 MiB of this model, so that servers and reloads share a GPU of any size."""


@dataclass(frozen=True)
class Node:
    """`root`: where its engines, runs and notes lie. `templates`: of NVIDIA's models where they do not lie in the container's place."""

    real: bool
    root: Path
    checkpoint: Path
    environment: dict[str, str]
    timeout_s: float
    templates: str | None = None

    def trtbench(self, *arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "trtbench" if self.real else WITHOUT_FIGURES, *arguments]
        environment = self.environment | variables
        return subprocess.run(
            command, cwd=cwd or self.root, env=environment, capture_output=True, text=True, timeout=self.timeout_s, check=False
        )

    def built(self, *flags: str) -> subprocess.CompletedProcess[str]:
        """`trtbench build` from a working directory in which nothing can be written, as a container's often is."""
        output = str(self.root / DEFAULT_OUTPUT)
        done = self.trtbench("build", str(self.checkpoint), "--provider", "tensorrt_llm", "--output", output, *flags, cwd=UNWRITABLE)
        assert done.returncode == 0, done.stdout + done.stderr
        return done

    def build(self, dtype: str = "fp16", *flags: str) -> Engine:
        return Engine.load(Path(self.built("--dtype", dtype, *FLAGS, *flags).stdout.splitlines()[0]))

    def serve_and_bench(self, scenario: dict[str, Any], **variables: str) -> subprocess.CompletedProcess[str]:
        path = self.root / f"{scenario['name']}.yaml"
        path.write_text(yaml.safe_dump(self.asked(scenario)))
        return self.trtbench("serve-and-bench", str(path), "--runs", str(self.root / scenario["name"]), **variables)

    def run(self, scenario: dict[str, Any]) -> RunDirectory:
        done = self.serve_and_bench(scenario)
        assert ran(done.returncode, self.root / scenario["name"]), done.stdout + done.stderr
        return self.run_of(scenario)

    def run_of(self, scenario: dict[str, Any]) -> RunDirectory:
        (path,) = (self.root / scenario["name"]).iterdir()
        return RunDirectory.open(path)

    def asked(self, scenario: dict[str, Any]) -> dict[str, Any]:
        """`scenario` on the tiny model, with what any of them needs."""
        common = {"model": str(self.checkpoint), "provider": "tensorrt_llm", "build": BUILD, "telemetry": {"interval_ms": 100}}
        return common | scenario

    def needs_triton(self, backend: str) -> None:
        """Skips where Triton, or this backend of its, is missing."""
        if self.real:
            try:
                installation = find_tritonserver()
            except InstallationError as error:
                pytest.skip(str(error))
            if not (installation.backends / backend).is_dir():
                pytest.skip(f"the Triton in {installation.binary.parent.parent} has no backend {backend}: not NVIDIA's -trtllm- image")

    def needs_templates(self, family: str) -> None:
        if self.real and find_templates(family, None) is None:
            pytest.skip(f"NVIDIA's {family} models are not in the container's place (/app/all_models)")

    def settings(self, **asked: Any) -> dict[str, Any]:
        return asked | ({"template_dir": self.templates} if self.templates else {})


def real_node(root: Path) -> Node:
    """Skips with what is missing."""
    if not visible_gpus():
        pytest.skip("CUDA shows no GPU")
    if reason := nvidia_stack_missing():
        pytest.skip(reason)
    if reason := (installed() or TensorRtLlm("-")).builds_no_engines():
        pytest.skip(reason)
    variables = dict(os.environ) | {"PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(root / "cache"), "XDG_STATE_HOME": str(root / "state")}
    return Node(True, root, write_checkpoint(root / "tiny"), variables, timeout_s=1500)


def fake_node(root: Path) -> Node:
    """The package by a recorded contract, the programs, the drivers, Triton and mpirun: all by stand-ins."""
    write_stub(root / "stub", "1.2", VERSION)
    libraries = root / "driver"
    libraries.mkdir()
    gpus = FakeGpus(compile_fakes(libraries), root)
    server = f"import sys\n\nsys.path.append({str(ROOT)!r})\nfrom tests.on_gpu.fake_server import main\n\nmain()\n"
    _program(root / "triton" / "bin" / "tritonserver", server)
    for program in ("mpirun", "llmapi_launch"):
        name = {"llmapi_launch": "trtllm-llmapi-launch"}.get(program, program)
        _program(root / "stub" / "bin" / name, (TESTS / "fixtures" / f"fake_{program}.py").read_text())
    for backend in ("tensorrtllm", "python"):
        (root / "triton" / "backends" / backend).mkdir(parents=True)
    stub = environment(root / "stub")
    variables = gpus.environment | stub | {"FAKE_RECORD": str(root)}
    variables["PATH"] = f"{root / 'triton' / 'bin'}{os.pathsep}{variables['PATH']}"
    return Node(False, root, write_checkpoint(root / "tiny"), variables, timeout_s=100, templates=str(write_templates(root / "templates")))


def _program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!{sys.executable}\n{text}")
    path.chmod(0o755)


def notes(node: Node, program: str) -> list[str]:
    """What a stand-in was started with."""
    found: list[str] = json.loads((node.root / f"{program}.json").read_text())
    return found
