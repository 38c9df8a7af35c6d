"""Image classifiers (task infer): their facts, and a demo of random weights, which computes as much as a trained one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from trtbench.engine.child import run_module
from trtbench.engine.spec import BuildLog, ModelFacts
from trtbench.rundir.lines import read_json
from trtbench.system.leftovers import temporary_directory

IMAGE_SHAPE = (3, 224, 224)
"""Channels, height and width of the pictures of every classifier here: ResNet's configuration does not say them."""
RANDOM_CLASSIFIER = "resnet-random"
"""The name of the demo: a ResNet with the depth of ResNet-18, half its width, and random weights from a fixed seed."""
RANDOM_LABELS = 1000
_MODEL_TYPES = ("resnet",)


def is_classifier(config: Mapping[str, Any]) -> bool:
    """Whether a checkpoint's config.json describes an image classifier of a known kind."""
    return config.get("model_type") in _MODEL_TYPES


def takes_pictures(checkpoint: Path) -> bool:
    """Whether a checkpoint's directory is of an image classifier, which has no tokenizer."""
    try:
        return is_classifier(read_json(checkpoint / "config.json"))
    except (OSError, ValueError, AttributeError):
        return False


def classifier_facts(config: Mapping[str, Any]) -> ModelFacts:
    labels = config.get("id2label")
    return ModelFacts.of_classifier(layers=sum(config["depths"]), image_shape=IMAGE_SHAPE, labels=len(labels) if labels else 2)


def random_classifier_facts() -> ModelFacts:
    """Facts of the demo, which are known before it is made."""
    return ModelFacts.of_classifier(layers=8, image_shape=IMAGE_SHAPE, labels=RANDOM_LABELS)


def make_random_classifier(path: Path, log: BuildLog) -> None:
    """Write the demo's checkpoint to `path`, which does not exist yet; EngineError if it fails."""
    with log.step("make a classifier of random weights"), temporary_directory(".making-", path.parent) as scratch:
        run_module("trtbench.engine.openvino.classifier_export", str(Path(scratch) / "checkpoint"), scratch=Path(scratch))
        (Path(scratch) / "checkpoint").rename(path)
