"""The stand-in server refuses what NVIDIA's refuses: else a fault of our configurations would first be seen on a GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from tests.contracts.contract import required_parameters
from tests.on_gpu.fake_models import LoadError, load
from tests.on_gpu.fake_requirements import LINE
from tests.support.engines.trtllm_engines import write_engine, write_templates
from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.deployment.tensorrt_llm import TensorRtLlm
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository.renderers import render

REQUIRED = [(model, name) for model, names in required_parameters(LINE).items() for name in names]
WORDS = {
    "tensorrt_llm": "Internal: unexpected error when creating modelInstanceState: Cannot find parameter with name: {}",
    "preprocessing": "Internal: KeyError: '{}'",
    "postprocessing": "Internal: KeyError: '{}'",
}


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    engine = write_engine(tmp_path / "engine", "1.2.1")
    (engine.path / "rank0.engine").write_bytes(b"0")
    settings = TensorRtLlm(family="bls", template_dir=str(write_templates(tmp_path / "templates")))
    return render(engine, Deployment(tensorrt_llm=settings), Workload()).write(tmp_path / "models")


def without(directory: Path, name: str) -> None:
    path = directory / "config.pbtxt"
    config: Any = text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    del config.parameters[name]
    path.write_text(text_format.MessageToString(config), encoding="utf-8")


def test_what_trtbench_writes_loads(repository: Path) -> None:
    assert {load(path.parent).config.name for path in repository.glob("*/config.pbtxt")} == {*WORDS, "tensorrt_llm_bls"}


@pytest.mark.parametrize(("model", "name"), REQUIRED)
def test_a_parameter_that_is_taken_away_ends_the_load(repository: Path, model: str, name: str) -> None:
    without(repository / model, name)
    with pytest.raises(LoadError) as refused:
        load(repository / model)
    assert str(refused.value) == WORDS[model].format(name)
