"""What TensorRT is given, computed here by onnxruntime: it must say what the checkpoint says, and keep most of it in INT8."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tests.conftest import ROOT
from tests.support.engines.encoders import write_encoder
from trtbench.engine.checkpoint import DEMOS, first_position, model_facts, resolve_checkpoint
from trtbench.engine.spec import BuildLog
from trtbench.engine.tensorrt_llm.quantisation import own_texts

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

from trtbench.engine.tensorrt.encoder_int8 import linear_layers, quantise, tokenised  # noqa: E402

needs_torch = pytest.mark.skipif(not (find_spec("torch") and find_spec("transformers")), reason="not installed: torch or transformers")
"""To import them takes 4 s, which only the process that runs these tests spends."""
pytestmark = [pytest.mark.process, pytest.mark.timeout(240), needs_torch]

FAMILY = ("bert", "distilbert", "electra", "roberta", "xlm-roberta", "camembert", "mpnet")
LEAST_INT8_COSINE = 0.96
"""Of MiniLM, calibrated on few texts; docs/encoder.md has the figures."""


def export(checkpoint: Path, onnx_path: Path) -> Path:
    """In this process, which has imported torch; builds start a child for it (test_provider.py does)."""
    from trtbench.engine.tensorrt import encoder_onnx

    encoder_onnx.export({"checkpoint": str(checkpoint), "first_position": first_position(checkpoint), "onnx": str(onnx_path)})
    return onnx_path


def embeddings(path: Path, rows: list[list[int]], pad_to: int = 0) -> npt.NDArray[np.float32]:
    """One by one, or padded to one batch."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    if not pad_to:
        return np.concatenate([embeddings(path, [row], len(row)) for row in rows])
    ids, mask = np.zeros((len(rows), pad_to), np.int32), np.zeros((len(rows), pad_to), np.int32)
    for at, row in enumerate(rows):
        ids[at, : len(row)], mask[at, : len(row)] = row, 1
    (found,) = session.run(None, {"input_ids": ids, "attention_mask": mask})
    return np.asarray(found)


def truth(checkpoint: Path, rows: list[list[int]]) -> npt.NDArray[np.float32]:
    """The mean over the tokens, by the checkpoint's own model in FP32, a row at a time."""
    import torch
    import transformers

    model = transformers.AutoModel.from_pretrained(checkpoint).eval()
    with torch.no_grad():
        return np.stack([model(torch.tensor([row])).last_hidden_state[0].mean(0).numpy() for row in rows])


def cosines(a: npt.NDArray[np.float32], b: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.asarray((a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1))


@pytest.mark.parametrize("model_type", FAMILY)
def test_each_of_the_family_says_what_its_checkpoint_says(tmp_path: Path, model_type: str) -> None:
    checkpoint = write_encoder(tmp_path / "checkpoint", model_type)
    assert model_facts(str(checkpoint)).max_positions == 40
    path = export(checkpoint, tmp_path / "model.onnx")
    random = np.random.default_rng(3)
    rows = [random.integers(4, 90, length).tolist() for length in (1, 7, 40, 23)]
    expected = truth(checkpoint, rows)
    assert cosines(embeddings(path, rows), expected).min() > 0.999
    assert np.abs(embeddings(path, rows, 40) - embeddings(path, rows)).max() < 0.01  # padding changes nothing
    graph = onnx.load(path).graph
    assert [(end.name, end.type.tensor_type.elem_type) for end in (*graph.input, *graph.output)] == [
        ("input_ids", onnx.TensorProto.INT32),
        ("attention_mask", onnx.TensorProto.INT32),
        ("embedding", onnx.TensorProto.FLOAT),
    ]
    assert {weights.data_type for weights in graph.initializer if len(weights.dims) == 2} >= {onnx.TensorProto.FLOAT16}


def test_int8_is_what_tensorrt_takes(tmp_path: Path) -> None:
    checkpoint = write_encoder(tmp_path / "checkpoint")
    source = export(checkpoint, tmp_path / "fp16.onnx")
    layers = linear_layers(onnx.load(source))
    assert len(layers) == 2 * 5 and not [name for name in layers if name.endswith("layer.0/output/dense/MatMul")]
    assert quantise(source, tmp_path / "int8.onnx", [[5, 6, 7], [8, 9]]) == len(layers)
    graph = onnx.load(tmp_path / "int8.onnx").graph
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    pairs = [node for node in graph.node if node.op_type == "QuantizeLinear"]
    of_weights = [node for node in pairs if node.input[0] in values]
    assert len(of_weights) == len(layers)
    for node in pairs:
        scale, zero = values[node.input[1]], values[node.input[2]]
        assert scale.dtype == np.float16 and zero.dtype == np.int8 and not zero.any()
        assert scale.shape == ((values[node.input[0]].shape[1],) if node in of_weights else ())  # a scale an output channel
    assert {node.domain for node in graph.node} == {""}


def test_a_graph_without_weights_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing could be quantised"):
        linear_layers(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])))


def openvino_embeddings(rows: list[list[int]]) -> npt.NDArray[np.float32] | None:
    """By the CPU engine in FP16, where it is built."""
    ov: Any = pytest.importorskip("openvino")
    found = sorted((ROOT / "engines" / "built").glob("minilm-l6-v2-fp16-openvino-*/openvino_model.xml"))
    if not found:
        return None
    model = ov.Core().compile_model(found[0], "CPU")
    given = [{"input_ids": np.array([row]), "attention_mask": np.ones((1, len(row)), np.int64)} for row in rows]
    names = {name for one in model.inputs for name in one.names}
    return np.concatenate(
        [model({**one, **({"token_type_ids": 0 * one["input_ids"]} if "token_type_ids" in names else {})})[0] for one in given]
    )


def test_minilm_in_both_precisions(tmp_path: Path) -> None:
    if not (ROOT / "engines" / "built").exists() and "minilm-l6-v2" not in DEMOS:
        pytest.skip("no demo")
    checkpoint = resolve_checkpoint("minilm-l6-v2", BuildLog(print)).path
    texts = own_texts()
    held_out = tokenised(checkpoint / "tokenizer.json", [*texts[-40::8], "Berlin", "The cat sat on the mat."], 64)
    fp16 = export(checkpoint, tmp_path / "fp16.onnx")
    exact, found = truth(checkpoint, held_out), embeddings(fp16, held_out)
    assert cosines(found, exact).min() > 0.9999
    if (by_openvino := openvino_embeddings(held_out)) is not None:
        assert cosines(found, by_openvino).min() > 0.999
    assert np.linalg.norm(found, axis=1) == pytest.approx(1, abs=1e-3)  # its modules ask for it
    assert quantise(fp16, tmp_path / "int8.onnx", tokenised(checkpoint / "tokenizer.json", texts[:-40:9], 64)) == 30
    int8 = cosines(embeddings(tmp_path / "int8.onnx", held_out), exact)
    print(f"INT8 cosine: mean {int8.mean():.4f}, least {int8.min():.4f}")
    assert int8.min() > LEAST_INT8_COSINE
