"""Image classifiers: their facts by config.json, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trtbench.engine.checkpoint import check_checkpoint, model_facts
from trtbench.engine.classifier import IMAGE_SHAPE, RANDOM_CLASSIFIER, RANDOM_LABELS
from trtbench.engine.openvino.provider import OpenVinoProvider
from trtbench.engine.spec import EngineError, EngineSpec
from trtbench.tasks.infer import INFER

CONFIG = {"model_type": "resnet", "depths": [2, 2], "id2label": {"0": "cat", "1": "dog", "2": "fox"}}


def checkpoint(path: Path, config: object = CONFIG) -> Path:
    (path / "config.json").write_text(json.dumps(config))
    (path / "model.safetensors").write_bytes(b"")
    return path


def test_a_checkpoint_needs_no_tokenizer(tmp_path: Path) -> None:
    check_checkpoint(str(checkpoint(tmp_path)))
    facts = model_facts(str(tmp_path))
    assert (facts.task, facts.image_shape, facts.labels, facts.layers) == (INFER.name, IMAGE_SHAPE, 3, 4)


def test_the_demo_is_known_before_it_is_made() -> None:
    check_checkpoint(RANDOM_CLASSIFIER)
    facts = model_facts(RANDOM_CLASSIFIER)
    assert (facts.task, facts.labels, facts.kv_heads) == (INFER.name, RANDOM_LABELS, 0)


@pytest.mark.parametrize("config", [{"model_type": "resnet"}, {"model_type": "resnet", "depths": "x"}])
def test_a_damaged_configuration_is_refused(tmp_path: Path, config: object) -> None:
    with pytest.raises(EngineError, match=r"config\.json describes neither"):
        model_facts(str(checkpoint(tmp_path, config)))


def test_only_fp16_is_exported() -> None:
    provider = OpenVinoProvider()
    assert provider.refusal(EngineSpec(model=RANDOM_CLASSIFIER, dtype="fp16")) is None
    refused = provider.refusal(EngineSpec(model=RANDOM_CLASSIFIER, dtype="int8"))
    assert refused == "image classifiers are exported in FP16 here, not int8: set engines: [fp16]"
