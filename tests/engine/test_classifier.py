"""Image classifiers: their facts by config.json, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from trtbench.engine.checkpoint import check_checkpoint, model_facts
from trtbench.engine.classifier import IMAGE_SHAPE, RANDOM_CLASSIFIER, RANDOM_LABELS
from trtbench.engine.openvino.provider import OpenVinoProvider
from trtbench.engine.spec import EngineError, EngineSpec
from trtbench.plan.plan_size import plan_size
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import load_scenario
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository.model_repository import check_inputs
from trtbench.system.packaged_data import SCENARIOS
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


def test_sequences_of_pictures_are_refused() -> None:
    facts = model_facts(RANDOM_CLASSIFIER)
    check_inputs(facts, Workload())
    with pytest.raises(ScenarioError, match=r"workload\.sessions: an image classifier keeps no state"):
        check_inputs(facts, Workload.model_validate({"sessions": {"turns": 2}}))


def test_a_plan_of_pictures_has_no_tokens() -> None:
    scenario = load_scenario(SCENARIOS / "resnet.yaml")
    size = plan_size(scenario, scenario.load)
    assert (size.prompts, size.prompt_tokens) == (1540, 0)


def test_only_fp16_is_exported() -> None:
    provider = OpenVinoProvider()
    assert provider.refusal(EngineSpec(model=RANDOM_CLASSIFIER, dtype="fp16")) is None
    refused = provider.refusal(EngineSpec(model=RANDOM_CLASSIFIER, dtype="int8"))
    assert refused == "image classifiers are exported in FP16 here, not int8: set engines: [fp16]"
