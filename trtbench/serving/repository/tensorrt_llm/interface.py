"""Which tensors TensorRT-LLM's Triton models have: they were renamed between 0.19 and 1.0."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal, TypeAlias

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from trtbench.scenario.parts.part import ScenarioError
from trtbench.system import packaged_data

ModelConfig: TypeAlias = Any  # protobuf's class, made without types
Line = Literal["0.19", "1.x"]

TEMPLATE_DIRS = {  # where NVIDIA's containers have their models; the first that is there
    "inflight_batcher_llm": ("/app/all_models/inflight_batcher_llm", "/app/tensorrt_llm/triton_backend/all_models/inflight_batcher_llm"),
    "llmapi": ("/app/all_models/llmapi", "/app/tensorrt_llm/triton_backend/all_models/llmapi"),
}
FIRST_WITHOUT_ENGINES = (1, 3)


def release(version: str) -> tuple[int, int]:
    """(major, minor); ScenarioError when it is no version."""
    found = re.match(r"(\d+)\.(\d+)", version)
    if not found:
        raise ScenarioError(f"the engine names TensorRT-LLM version {version!r}, which is none: build the engine again")
    return int(found[1]), int(found[2])


def engine_line(version: str, templates: Path | None) -> Line:
    """The interface of a version that serves engines. 0.20 and 0.21 have the old names or the new: the container's own models tell.

    ScenarioError for a version whose interface is not known.
    """
    at = release(version)
    if at == (0, 19):
        return "0.19"
    if (1, 0) <= at < FIRST_WITHOUT_ENGINES:
        return "1.x"
    if at >= FIRST_WITHOUT_ENGINES:
        raise ScenarioError(f"TensorRT-LLM {version} serves no engines, 1.2 was the last: use provider llmapi, or a container up to 26.07")
    own = templates / "tensorrt_llm" / "config.pbtxt" if templates else None
    if at in ((0, 20), (0, 21)) and own and own.is_file():
        return "0.19" if '"random_seed"' in own.read_text(encoding="utf-8") else "1.x"
    raise ScenarioError(
        f"the tensors of TensorRT-LLM {version}'s Triton models are not known here: use 0.19 or 1.0 to 1.2; "
        "for 0.20 and 0.21 tensorrt_llm.template_dir must name the container's inflight_batcher_llm directory"
    )


def find_templates(family: str, asked: str | None) -> Path | None:
    """The directory of NVIDIA's models, None when it is nowhere; ScenarioError when the one asked for is not there."""
    if asked is not None:
        if not Path(asked).is_dir():
            raise ScenarioError(f"template_dir = {asked!r} is no directory: name the one with NVIDIA's {family} models, or leave it out")
        return Path(asked)
    return next((path for path in map(Path, TEMPLATE_DIRS[family]) if path.is_dir()), None)


def model_code(family: str, templates: Path | None, model: str) -> Path:
    """NVIDIA's Python files of one model; ScenarioError when they are not there."""
    code = templates / model / "1" if templates else None
    if code is None or not (code / "model.py").is_file():
        looked = templates or " or ".join(TEMPLATE_DIRS[family])
        raise ScenarioError(
            f"NVIDIA's {family} model {model} ({model}/1/model.py) is not in {looked}: run in the Triton + TensorRT-LLM container, "
            "or name its directory as template_dir"
        )
    return code


def interface(family: str, line: Line, model: str) -> ModelConfig:
    """A model's name, backend and tensors, of `model_repo/`."""
    file = packaged_data.MODEL_REPO / family / line / f"{model}.pbtxt"
    return text_format.Parse(file.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
