"""Exports an image classifier to OpenVINO. `python -m trtbench.engine.openvino.classifier_export OUT` makes the demo's checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import openvino as ov
import torch
from transformers import AutoConfig, AutoModelForImageClassification

from trtbench.engine.classifier import IMAGE_SHAPE, RANDOM_LABELS

_SEED = 7


class _Logits(torch.nn.Module):
    """The model with its logits as its only output, of shape [items, labels]."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self._model = model

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self._model(pixel_values).logits
        return logits


def export_classifier(checkpoint: Path, int8: bool, output: Path) -> None:
    """Weights in FP16; the provider refuses INT8."""
    assert not int8, "the provider refuses INT8 of a classifier"
    model = _Logits(AutoModelForImageClassification.from_pretrained(checkpoint).eval())
    with torch.no_grad():
        converted = ov.convert_model(model, example_input=torch.zeros(2, *IMAGE_SHAPE), input=[-1, *IMAGE_SHAPE])
    ov.save_model(converted, output / "openvino_model.xml", compress_to_fp16=True)


def make_random(output: Path) -> None:
    """Half the width of ResNet-18; its weights are random, from a fixed seed."""
    torch.manual_seed(_SEED)
    shape: dict[str, Any] = {"embedding_size": 32, "hidden_sizes": [32, 64, 128, 256], "depths": [2, 2, 2, 2], "layer_type": "basic"}
    config = AutoConfig.for_model("resnet", num_labels=RANDOM_LABELS, **shape)
    classifier: Any = AutoModelForImageClassification
    classifier.from_config(config).save_pretrained(output)


if __name__ == "__main__":
    make_random(Path(sys.argv[1]))
