from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.engines.engine_directory import LIMITS, write_engine
from trtbench.engine.build import build_engine
from trtbench.engine.checkpoint import model_facts
from trtbench.engine.spec import BuildLog, EngineError, EngineSpec
from trtbench.engine.tensorrt_llm import adopt
from trtbench.engine.tensorrt_llm.adopt import describe
from trtbench.engine.tensorrt_llm.engine import differences, read_engine
from trtbench.engine.tensorrt_llm.versions import TensorRtLlm, release

KEYS = ["version", "pretrained_config", "build_config", "plugin_config", "mapping", "tp_size", "dtype", "vocab_size", "num_attention_heads"]
KEYS += ["hidden_size", "head_size", "quantization", "quant_algo", "kv_cache_type", "tokens_per_block", "world_size", "max_batch_size"]


def spec_of(checkpoint: Path, **keys: Any) -> EngineSpec:
    return EngineSpec.model_validate({"model": str(checkpoint)} | keys)


def quiet() -> BuildLog:
    return BuildLog(lambda step: None)


def test_reads_what_an_engine_says_of_itself(tmp_path: Path) -> None:
    engine = read_engine(write_engine(tmp_path, algorithm="W8A16", kv_algorithm="INT8", tp=2, kv_block_tokens=64, paged_context_fmha=False))
    assert (engine.version, engine.architecture, engine.dtype, engine.weights_dtype, engine.kv_dtype) == (
        *("1.2.1", "LlamaForCausalLM"),
        *("int8", "int8", "int8"),
    )
    assert (engine.tp, engine.pp, engine.world_size, engine.kv_block_tokens, engine.paged_context_fmha) == (2, 1, 2, 64, False)
    assert (engine.layers, engine.kv_heads, engine.head_dim, engine.vocabulary_tokens) == (2, 2, 16, 1000)
    assert engine.limits == LIMITS
    assert engine.size_bytes == 2 * 4096
    assert engine.plugins == {"gemm_plugin": "auto", "tokens_per_block": 64}
    assert [file.name for file in engine.files] == ["config.json", "rank0.engine", "rank1.engine"]


@pytest.mark.parametrize(
    ("algorithm", "compute", "dtype", "weights", "kv"),
    [
        (None, "float16", "fp16", "fp16", "fp16"),
        (None, "bfloat16", "bf16", "bf16", "bf16"),
        ("NO_QUANT", "float16", "fp16", "fp16", "fp16"),
        ("W8A8_SQ_PER_CHANNEL", "float16", "int8-sq", "int8", "fp16"),
        ("W8A8_SQ_PER_CHANNEL_PER_TOKEN_PLUGIN", "float16", "int8-sq", "int8", "fp16"),
        ("FP8", "bfloat16", "fp8", "fp8", "bf16"),
        ("W4A16_AWQ", "float16", None, "w4a16_awq", "fp16"),
        (None, "float32", None, "float32", "fp32"),
    ],
)
def test_precisions_by_our_names(tmp_path: Path, algorithm: str | None, compute: str, dtype: str | None, weights: str, kv: str) -> None:
    engine = read_engine(write_engine(tmp_path, algorithm=algorithm, compute=compute))
    assert (engine.dtype, engine.weights_dtype, engine.kv_dtype) == (dtype, weights, kv)


def test_managed_weights_count_and_are_linked(tmp_path: Path) -> None:
    write_engine(tmp_path)
    (tmp_path / "rank0_managed_weights.safetensors").write_bytes(b"w" * 100)
    engine = read_engine(tmp_path)
    assert engine.size_bytes == 4196
    assert "rank0_managed_weights.safetensors" in {file.name for file in engine.files}


@pytest.mark.parametrize(
    ("engine", "runtime", "same"),
    [
        ("1.0.3", "1.0.3.2510", True),  # as the container of 25.11 calls itself
        ("1.2.1", "1.2.1+cu130", True),
        ("1.2.1", "1.2.0", False),
        ("1.2.0rc2", "1.2.0", False),
        ("1.2.0rc2", "1.2.0rc2.post1", True),
        ("dev", "1.2.1", False),
    ],
)
def test_three_numbers_and_a_candidate_decide_which_release_reads_an_engine(engine: str, runtime: str, same: bool) -> None:
    assert (release(engine) == release(runtime)) == same


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"version": "0.8", "builder_config": {}}', '{"version": 1, "pretrained_config": []}'])
def test_what_is_no_engine_directory(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(EngineError, match=r"is not a TensorRT-LLM engine directory.*rank0\.engine"):
        read_engine(tmp_path)
    with pytest.raises(EngineError, match="is not a TensorRT-LLM engine directory"):
        read_engine(tmp_path / "nowhere")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=6),
    max_leaves=20,
)


@given(JSON, st.sampled_from(KEYS))
def test_no_config_makes_it_fail_otherwise(tmp_path_factory: pytest.TempPathFactory, value: Any, key: str) -> None:
    directory = write_engine(tmp_path_factory.mktemp("e"))
    config = json.loads((directory / "config.json").read_text())
    for tree in (config, config["pretrained_config"], config["build_config"], config["pretrained_config"]["mapping"]):
        if key in tree:
            tree[key] = value
    (directory / "config.json").write_text(json.dumps(config))
    with suppress(EngineError):
        engine = read_engine(directory)
        assert engine.kv_block_tokens > 0 and engine.layers > 0 and isinstance(engine.version, str)


def found(tmp_path: Path, checkpoint: Path, parameters: int | None = None, runtime: str | None = None, **engine: Any) -> list[str]:
    spec = spec_of(checkpoint, **engine.pop("spec", {}))
    return differences(read_engine(write_engine(tmp_path / "e", **engine)), spec, model_facts(str(checkpoint)), parameters, runtime)


def test_a_whole_engine_of_the_model_has_no_differences(tmp_path: Path, checkpoint: Path) -> None:
    assert found(tmp_path, checkpoint, parameters=2000, runtime="1.2.1") == []


@pytest.mark.parametrize(
    ("engine", "says"),
    [
        ({"runtime": "1.1.0"}, "built by TensorRT-LLM 1.2.1, 1.1.0 is installed"),
        ({"rank_bytes": 0}, "rank0.engine empty"),
        ({"parameters": 4097}, "4096 bytes in all, the model's fp16 weights alone are about 8194"),
        ({"model": {"num_hidden_layers": 3}}, "layers 3, the model has 2"),
        ({"model": {"num_key_value_heads": 4}}, "kv_heads 4, the model has 2"),
        ({"model": {"head_size": 32}}, "head_dim 32, the model has 16"),
        ({"model": {"vocab_size": 1001}}, "vocabulary_tokens 1001, the model has 1000"),
        ({"algorithm": "W8A16"}, "quantised as W8A16 (int8), asked is fp16"),
        ({"algorithm": "W4A16"}, "quantised as W4A16 (no name here), asked is fp16"),
        ({"spec": {"build": {"kv_dtype": "int8"}}}, "kv_dtype fp16, asked is int8"),
        ({"spec": {"build": {"tp": 2}}}, "tp 1, asked is 2"),
        ({"spec": {"build": {"max_batch_size": 4096}}}, "max_batch_size 2048, asked is 4096"),
        ({"spec": {"build": {"kv_block_tokens": 64}}}, "kv_block_tokens 32, asked is 64"),
        ({"spec": {"build": {"paged_context_fmha": False}}}, "paged_context_fmha True, asked is False"),
    ],
)
def test_each_difference_is_named_alone(tmp_path: Path, checkpoint: Path, engine: dict[str, Any], says: str) -> None:
    (one,) = found(tmp_path, checkpoint, **engine)
    assert says in one


def test_missing_and_foreign_ranks(tmp_path: Path, checkpoint: Path) -> None:
    directory = write_engine(tmp_path / "e", tp=2)
    (directory / "rank1.engine").rename(directory / "rank7.engine")
    missing, extra = differences(read_engine(directory), spec_of(checkpoint), model_facts(str(checkpoint)), 2000, None)
    assert "rank1.engine missing of 2" in missing
    assert "rank7.engine beyond its 2 ranks" in extra


def test_a_smaller_limit_than_asked_is_enough(tmp_path: Path, checkpoint: Path) -> None:
    assert found(tmp_path, checkpoint, spec={"build": {"max_batch_size": 8, "max_seq_len": 512}}) == []


@pytest.fixture
def bare(checkpoint: Path) -> Path:
    """What lies beside an adopted engine: no weights."""
    (checkpoint / "model.safetensors").unlink()
    return checkpoint


def test_an_engine_is_adopted_without_a_gpu_and_without_copying_it(tmp_path: Path, bare: Path) -> None:
    directory = write_engine(tmp_path / "theirs", algorithm="W8A16", kv_algorithm="INT8", paged_context_fmha=False)
    spec = spec_of(bare, dtype="int8", build={"engine_dir": str(directory), "kv_dtype": "int8"})
    first, again = (build_engine(spec, tmp_path / "built", quiet()) for _ in range(2))
    assert (first.cached, again.cached) == (False, True)
    engine = first.engine
    assert engine.provider == "tensorrt_llm"
    assert engine.provider_versions == {"tensorrt_llm": "1.2.1"}
    assert (engine.dtype, engine.weights_dtype, engine.kv_dtype, engine.kv_block_tokens) == ("int8", "int8", "int8", 32)
    assert engine.size_bytes == 4096
    assert engine.options["adopted_from"] == str(directory)
    assert engine.options["limits"] == LIMITS
    assert engine.build_steps == ()  # how long it took is not known
    assert (engine.path / "rank0.engine").resolve() == directory / "rank0.engine"
    assert (engine.path / "tokenizer.json").read_text() == "{}"
    assert engine.model_facts.eos_token_id == 7
    (directory / "rank0.engine").write_bytes(b"another" * 1000)
    changed = build_engine(spec, tmp_path / "built", quiet())
    assert not changed.cached
    assert changed.engine.sha256 != engine.sha256


def test_an_engine_of_something_else_is_not_adopted(tmp_path: Path, bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adopt, "installed", lambda: TensorRtLlm("1.1.0"))
    directory = write_engine(tmp_path / "theirs", algorithm="W4A16")
    with pytest.raises(EngineError) as caught:
        build_engine(spec_of(bare, dtype="int8", build={"engine_dir": str(directory)}), tmp_path / "built", quiet())
    text = str(caught.value)
    assert "1.1.0 is installed" in text and "quantised as W4A16" in text and text.endswith("or build the engine again")
    assert not list((tmp_path / "built").iterdir())


def test_an_engine_that_another_server_serves(tmp_path: Path) -> None:
    directory = write_engine(tmp_path / "theirs", algorithm="FP8", kv_algorithm="FP8", tp=2)
    engine = describe(directory)
    assert (engine.dtype, engine.kv_dtype, engine.kv_block_tokens, engine.size_bytes) == ("fp8", "fp8", 32, 8192)
    assert (engine.model_facts.layers, engine.model_facts.max_positions, engine.model_facts.eos_token_id) == (2, 512, -1)
    assert engine.options["claimed_from"] == str(directory)
    assert (engine.build_steps, engine.provider_versions) == ((), {"tensorrt_llm": "1.2.1"})
    (directory / "rank1.engine").unlink()
    with pytest.raises(EngineError, match=r"is not whole: rank1\.engine missing of 2"):
        describe(directory)
    with pytest.raises(EngineError, match="quantised as W4A16, which trtbench has no name for"):
        describe(write_engine(tmp_path / "other", algorithm="W4A16"))


def test_an_engine_dir_and_another_provider(tmp_path: Path, bare: Path) -> None:
    directory = write_engine(tmp_path / "theirs")
    with pytest.raises(EngineError, match=r"build\.engine_dir is a TensorRT-LLM engine, provider is openvino"):
        build_engine(spec_of(bare, provider="openvino", build={"engine_dir": str(directory)}), tmp_path / "built", quiet())
