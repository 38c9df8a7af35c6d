"""One Triton repository with every family of TensorRT-LLM's models around our CPU engine, under the tensors that 1.2 has."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from tests.support.engines.trtllm_engines import write_engine
from tests.support.triton.numpy1 import variables
from trtbench.engine.spec import Engine
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.deployment.tensorrt_llm import TensorRtLlm
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository.model_repository import RenderedModel
from trtbench.serving.repository.renderers import render
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.server import TritonServer
from trtbench.system import packaged_data

_MODELS = Path(__file__).parents[2] / "fixtures" / "text_models"
BLS_INSTANCES = 2
"""Each holds one request, as NVIDIA's does."""


@contextmanager
def serve_families(installation: TritonInstallation, engine: Engine, deployment: Deployment, directory: Path) -> Iterator[TritonServer]:
    """`tensorrt_llm`, `ensemble`, `tensorrt_llm_bls`, `llmapi` and `fake_vllm_backend` of one engine."""
    root = directory / "models"
    for model in _models(engine, deployment, directory):
        model.write(root)
    numpy1 = variables(directory / "numpy1", installation.environment()["PATH"])
    flags = [f"--load-model={name}" for name in ("ensemble", "tensorrt_llm_bls", "llmapi", "fake_vllm_backend")]
    with TritonServer(installation, root, directory / "server.log", ["--model-control-mode=explicit", *flags], variables=numpy1) as server:
        yield server


def _models(engine: Engine, deployment: Deployment, directory: Path) -> list[RenderedModel]:
    fake = write_engine(directory / "engine", "1.2.1")
    shutil.copy(engine.path / "tokenizer.json", fake.path)
    found = {}
    for family in ("ensemble", "bls"):
        settings = TensorRtLlm(family=family, template_dir=str(_MODELS), bls_instances=BLS_INSTANCES)  # type: ignore[arg-type]
        repository = render(fake, Deployment(max_batch_size=8, tensorrt_llm=settings), Workload())
        front = RenderedModel(repository.model_name, repository.config, repository.source)
        found |= {model.name: model for model in (front, *repository.others)}
    cpu = render(engine, deployment, Workload())
    backend = found["tensorrt_llm"]
    config = backend.config.replace('backend: "tensorrtllm"', 'backend: "python"') + cpu.config[cpu.config.index("parameters {") :]
    found["tensorrt_llm"] = replace(backend, config=config, source=cpu.source)
    return [*found.values(), _llmapi(engine), _fake_vllm_backend(engine)]


def _llmapi(engine: Engine) -> RenderedModel:
    interface = (packaged_data.MODEL_REPO / "llmapi" / "tensorrt_llm.pbtxt").read_text()
    config = interface.replace('name: "tensorrt_llm"', 'name: "llmapi"') + "instance_group [ { count: 1 kind: KIND_CPU } ]\n"
    config += _parameters(tokenizer_dir=engine.path, end_id=engine.model_facts.eos_token_id)
    return RenderedModel("llmapi", config, _MODELS / "llmapi" / "1")


def _fake_vllm_backend(engine: Engine) -> RenderedModel:
    directory = _MODELS / "fake_vllm_backend"
    config = (directory / "config.pbtxt").read_text() + _parameters(tokenizer_dir=engine.path)
    return RenderedModel(directory.name, config, directory / "1")


def _parameters(**values: object) -> str:
    return "".join(f'parameters {{ key: "{key}" value {{ string_value: "{value}" }} }}\n' for key, value in values.items())
