"""What is put behind an encoder's network: the pooling that its sentence-transformers modules ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ov = pytest.importorskip("openvino")
from openvino import opset13 as ops  # noqa: E402

from trtbench.engine.checkpoint_files import sentence_modules  # noqa: E402
from trtbench.engine.openvino.pooling import pooled  # noqa: E402

KIND = "sentence_transformers.models."


def modules(checkpoint: Path, *kinds: str, **modes: bool) -> Path:
    rows = [{"path": "" if kind == "Transformer" else f"{at}_{kind}", "type": KIND + kind} for at, kind in enumerate(kinds)]
    (checkpoint / "modules.json").write_text(json.dumps(rows))
    (checkpoint / "1_Pooling").mkdir()
    (checkpoint / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{mode}": on for mode, on in modes.items()}))
    return checkpoint


@pytest.mark.parametrize(
    ("kinds", "modes", "found"),
    [
        (("Transformer", "Pooling", "Normalize"), {"mean_tokens": True, "cls_token": False}, ("mean", True)),
        (("Transformer", "Pooling"), {"cls_token": True, "mean_tokens": False}, ("cls", False)),
        (("Transformer",), {}, ("mean", False)),
    ],
)
def test_modules_say_how_to_pool(tmp_path: Path, kinds: tuple[str, ...], modes: dict[str, bool], found: tuple[str, bool]) -> None:
    assert sentence_modules(modules(tmp_path, *kinds, **modes)) == found


def test_without_modules_it_is_the_mean(tmp_path: Path) -> None:
    assert sentence_modules(tmp_path) == ("mean", False)


@pytest.mark.parametrize(
    ("kinds", "modes", "message"),
    [
        (("Transformer", "Pooling", "Dense"), {"mean_tokens": True}, "has Dense: only Transformer, Pooling and Normalize"),
        (("Transformer", "Pooling"), {"max_tokens": True}, "pools by max_tokens: only mean_tokens and cls_token"),
        (("Transformer", "Pooling"), {"mean_tokens": True, "cls_token": True}, "pools by mean_tokens, cls_token"),
    ],
)
def test_another_way_is_refused(tmp_path: Path, kinds: tuple[str, ...], modes: dict[str, bool], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        sentence_modules(modules(tmp_path, *kinds, **modes))


def network() -> Any:
    """Its hidden states are id and twice the id."""
    ids, mask = (ops.parameter([-1, -1], np.int64, name=name) for name in ("input_ids", "attention_mask"))
    for parameter, name in ((ids, "input_ids"), (mask, "attention_mask")):
        parameter.output(0).set_names({name})
    tokens = ops.unsqueeze(ops.convert(ids, "f32"), ops.constant(2))
    return ov.Model([ops.result(ops.concat([tokens, ops.multiply(tokens, ops.constant(np.float32(2)))], 2))], [ids, mask], "network")


@pytest.mark.parametrize(
    ("pooling", "normalise", "expected"),
    [
        ("mean", False, [[2, 4], [5, 10]]),
        ("cls", False, [[1, 2], [5, 10]]),
        ("mean", True, [[0.2**0.5, 0.8**0.5]] * 2),
    ],
)
def test_the_mask_decides_what_is_pooled(pooling: str, normalise: bool, expected: list[list[float]]) -> None:
    compiled = ov.Core().compile_model(pooled(network(), pooling, normalise), "CPU")
    ids, mask = np.array([[1, 2, 3], [5, 99, 99]]), np.array([[1, 1, 1], [1, 0, 0]])
    assert compiled.outputs[0].get_any_name() == "embedding"
    assert compiled({"input_ids": ids, "attention_mask": mask})[0] == pytest.approx(np.array(expected), abs=1e-6)
