from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.engine.checkpoint_files import parameter_count
from trtbench.engine.spec import EngineError
from trtbench.engine.tensorrt_llm.quantisation import read_quantisation


def write_safetensors(path: Path, shapes: dict[str, list[int]], cut: int = 0) -> None:
    header, end = {}, 0
    for name, shape in shapes.items():
        size = 2
        for length in shape:
            size *= length
        header[name] = {"dtype": "F16", "shape": shape, "data_offsets": [end, end + size]}
        end += size
    text = json.dumps({"__metadata__": {"format": "pt"}} | header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"\0" * (end - cut))


def test_parameters_of_all_files_without_scales(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model-1.safetensors", {"embed.weight": [10, 4], "norm.weight": [4]})
    write_safetensors(tmp_path / "model-2.safetensors", {"mlp.weight": [4, 16], "mlp.weight_scale": [4]})
    assert parameter_count(tmp_path) == 40 + 4 + 64


def test_a_checkpoint_of_another_form_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    assert parameter_count(tmp_path) is None


def test_a_file_that_was_cut_is_found_without_reading_it(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "model.safetensors", {"a": [10, 10]}, cut=7)
    with pytest.raises(EngineError, match=r"model\.safetensors is not a complete safetensors file: 7 bytes are missing at its end"):
        parameter_count(tmp_path)


@given(st.binary(max_size=64))
def test_no_bytes_make_it_fail_otherwise(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    directory = tmp_path_factory.mktemp("c")
    (directory / "model.safetensors").write_bytes(content)
    with suppress(EngineError):
        assert parameter_count(directory) is not None


@pytest.mark.parametrize(
    ("config", "modelopt", "dtype", "algorithm", "kv"),
    [
        ({"torch_dtype": "bfloat16"}, None, "bf16", None, "bf16"),
        ({"dtype": "float16"}, None, "fp16", None, "fp16"),
        ({}, None, "fp16", None, "fp16"),
        ({"torch_dtype": "float32"}, None, None, None, "fp32"),
        ({"torch_dtype": "bfloat16"}, {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}, "fp8", "FP8", "fp8"),
        ({}, {"quant_algo": "W8A8_SQ_PER_CHANNEL", "kv_cache_quant_algo": None}, "int8-sq", "W8A8_SQ_PER_CHANNEL", "fp16"),
        ({"torch_dtype": "bfloat16"}, {"quant_algo": "NVFP4"}, None, "NVFP4", "bf16"),
        ({"torch_dtype": "bfloat16", "quantization_config": {"quant_method": "modelopt", "quant_algo": "FP8"}}, None, "fp8", "FP8", "bf16"),
        ({"quantization_config": {"quant_method": "modelopt", "quantization": {"quant_algo": "W8A16"}}}, None, "int8", "W8A16", "fp16"),
        ({"torch_dtype": "bfloat16", "quantization_config": {"quant_method": "fp8"}}, None, None, "FP8_BLOCK_SCALES", "bf16"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, None, None, "GPTQ", "fp16"),
    ],
)  # fmt: skip
def test_how_a_checkpoint_is_quantised(tmp_path: Path, config: dict, modelopt: dict | None, dtype: str, algorithm: str, kv: str) -> None:  # type: ignore[type-arg]
    (tmp_path / "config.json").write_text(json.dumps(config))
    if modelopt:
        (tmp_path / "hf_quant_config.json").write_text(json.dumps({"producer": {"name": "modelopt"}, "quantization": modelopt}))
    found = read_quantisation(tmp_path)
    assert (found.dtype, found.algorithm, found.kv_dtype) == (dtype, algorithm, kv)
    assert found.source == ("hf_quant_config.json" if modelopt else "config.json")


def test_an_unreadable_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "hf_quant_config.json").write_text("[1]")
    with pytest.raises(EngineError, match=r"hf_quant_config\.json cannot be read: no JSON object"):
        read_quantisation(tmp_path)
