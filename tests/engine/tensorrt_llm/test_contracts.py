"""Every keyword, flag and value that a build writes, against the recorded contract of every TensorRT-LLM that trtbench claims."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.contract import CASES, enum, fields, flags
from tests.contracts.program import parse
from tests.contracts.stub import write_stub
from trtbench.engine.spec import EngineSpec
from trtbench.engine.tensorrt_llm import build
from trtbench.engine.tensorrt_llm.build_plan import llm_api_build, trtllm_build_command
from trtbench.engine.tensorrt_llm.engine import read_engine
from trtbench.engine.tensorrt_llm.quantisation import algorithm, by_modelopt, calibrates, checkpoint_command
from trtbench.engine.tensorrt_llm.versions import ENGINE_LINES, TensorRtLlm
from trtbench.scenario.deployment.build_options import PLUGINS, BuildOptions

LIMITS = {"max_batch_size": 64, "max_input_len": 256, "max_seq_len": 512, "max_num_tokens": 2048}
SPECS = [
    {"dtype": "fp16"},
    {"dtype": "bf16", "build": LIMITS},
    {"dtype": "fp16", "build": {"kv_dtype": "int8"}},
    {"dtype": "fp16", "build": {"kv_dtype": "fp8", "paged_context_fmha": False}},
    {"dtype": "int8", "build": {"kv_block_tokens": 64, "paged_context_fmha": True}},
    {"dtype": "int8", "build": {"kv_dtype": "int8", "workers": 2}},
    {"dtype": "int8-sq"},
    {"dtype": "int8-sq", "build": {"smoothquant": "plugin", "kv_dtype": "int8"}},
    {"dtype": "fp8", "build": {"kv_dtype": "fp8", "plugins": {"use_fp8_context_fmha": "enable", "gemm_plugin": "disable"}}},
    {"dtype": "fp16", "build": {"dummy_weights": True, **LIMITS}},
    {"dtype": "fp16", "build": {"plugins": {"multiple_profiles": "enable", "reduce_fusion": "disable", "gemm_plugin": "float16"}}},
    {"dtype": "int8", "build": {"tp": 2, "pp": 2, "workers": 2, "plugins": {"nccl_plugin": "auto"}}},
]
specs = pytest.mark.parametrize("keys", SPECS, ids=[json.dumps(keys) for keys in SPECS])
versions = pytest.mark.parametrize(("line", "contract"), CASES)


def spec_of(keys: dict[str, Any]) -> EngineSpec:
    return EngineSpec.model_validate({"model": "checkpoint"} | keys)


def calibration_of(spec: EngineSpec) -> tuple[Path, int] | None:
    return (Path("texts"), 100) if calibrates(spec.dtype, spec.build) else None


@pytest.fixture
def stub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """`stub(line, contract)` puts the stand-in on sys.path and says where it records."""

    def forget() -> None:
        for name in [name for name in sys.modules if name.split(".")[0] == "tensorrt_llm"]:
            del sys.modules[name]

    def install(line: str, contract: str, version: str = "") -> Path:
        write_stub(tmp_path / "stub", contract, version or f"{line}.1")
        monkeypatch.syspath_prepend(str(tmp_path / "stub"))
        monkeypatch.setenv("TRTLLM_STUB_RECORD", str(tmp_path / "record.jsonl"))
        monkeypatch.chdir(tmp_path)  # the timing cache is written there
        forget()
        return tmp_path / "record.jsonl"

    yield install
    forget()


@versions
@specs
def test_the_llm_api_takes_what_a_build_passes(stub: Any, tmp_path: Path, line: str, contract: str, keys: dict[str, Any]) -> None:
    record, spec = stub(line, contract), spec_of(keys)
    plan = llm_api_build(spec, Path("checkpoint"), tmp_path / "engine", calibration_of(spec))
    build.build(json.loads(json.dumps(plan.as_json())))
    (made,) = map(json.loads, record.read_text().splitlines())
    options = spec.build
    assert (made["model"], made["tensor_parallel_size"], made["pipeline_parallel_size"]) == ("checkpoint", options.tp, options.pp)
    assert made["load_format"] == ("dummy" if options.dummy_weights else "auto")
    assert made.get("quant_config", {}).get("quant_algo") == algorithm(spec.dtype, options)
    assert made.get("calib_config", {}).get("calib_dataset") == ("texts" if calibrates(spec.dtype, options) else None)
    assert {name: made["build_config"][name] for name in LIMITS if options.asked.get(name)} == (LIMITS if options.max_seq_len else {})
    assert {name: made[name] for name in LIMITS if name in made} == {
        name: made["build_config"][name] for name in LIMITS if options.asked.get(name)
    }
    engine = read_engine(tmp_path / "engine")
    assert engine.dtype == spec.dtype
    assert engine.kv_block_tokens == (options.kv_block_tokens or 32)
    assert (tmp_path / "engine" / build.STATS_FILE).is_file()


@specs
def test_a_candidate_of_1_2_whose_build_config_is_a_dataclass(stub: Any, tmp_path: Path, keys: dict[str, Any]) -> None:
    stub("1.2", "1.2", "1.2.0rc2")
    spec = spec_of(keys)
    plan = llm_api_build(spec, Path("checkpoint"), tmp_path / "engine", calibration_of(spec))
    build.build(plan.as_json())
    assert read_engine(tmp_path / "engine").dtype == spec.dtype


@versions
@specs
def test_the_programs_take_what_a_build_passes(line: str, contract: str, keys: dict[str, Any]) -> None:
    spec = spec_of(keys)
    for architecture in ("LlamaForCausalLM", "Qwen2ForCausalLM"):
        if architecture != "LlamaForCausalLM" and spec.build.smoothquant == "plugin":
            continue  # refused
        argv = checkpoint_command(spec.dtype, spec.build, architecture, Path("ex"), Path("m"), Path("o"), calibration_of(spec))
        modelopt = by_modelopt(spec.dtype, spec.build, architecture)
        found = parse(argv[2:], flags(contract, "quantize.py" if modelopt else "convert_checkpoint.py(llama)"))
        assert (found["model_dir"], found["output_dir"], found["tp_size"]) == ("m", "o", spec.build.tp)
    built = parse(trtllm_build_command(spec, "trtllm-build", Path("c"), Path("o"))[1:], flags(contract, "trtllm-build"))
    assert built["output_dir"] == "o"
    assert built["workers"] == (spec.build.workers or spec.build.ranks)
    assert ("model_config" if spec.build.dummy_weights else "checkpoint_dir") in built


@versions
def test_every_plugin_that_can_be_set_is_a_flag_and_an_attribute(line: str, contract: str) -> None:
    known, attributes = flags(contract, "trtllm-build"), fields(contract, "PluginConfig")
    for name, values in PLUGINS.items():
        assert set(values) <= set(known[f"--{name}"]["choices"]), name
        assert name in attributes


@versions
def test_every_value_of_a_plugin_is_one_that_the_attribute_takes(stub: Any, line: str, contract: str) -> None:
    stub(line, contract)
    from tensorrt_llm.llmapi import PluginConfig  # type: ignore[import-not-found]

    for name, words in PLUGINS.items():
        switch = flags(contract, "trtllm-build")[f"--{name}"]["choices"] == ["enable", "disable"]
        for word in words:
            config = PluginConfig()
            build.set_plugins(config, {name: word})
            assert getattr(config, name) == (word == "enable" if switch else None if word == "disable" else word), (name, word)


@versions
def test_every_algorithm_is_one_of_theirs(line: str, contract: str) -> None:
    for dtype, smoothquant in product(("int8", "int8-sq", "fp8"), ("modelopt", "plugin")):
        assert algorithm(dtype, BuildOptions(smoothquant=smoothquant)) in enum(contract, "QuantAlgo")  # type: ignore[arg-type]
    assert {"INT8", "FP8"} <= set(enum(contract, "QuantAlgo.kv_cache"))


@versions
def test_a_name_that_the_installed_class_lacks_is_refused_and_not_dropped(stub: Any, line: str, contract: str) -> None:
    stub(line, contract)
    from tensorrt_llm.llmapi import BuildConfig, CalibConfig, PluginConfig

    for kind in (BuildConfig, CalibConfig):
        with pytest.raises(TypeError, match=rf"{kind.__name__} of TensorRT-LLM {line}\.1 has no max_batchsize"):
            build.construct(kind, {"max_batchsize": 3})
    with pytest.raises(TypeError, match=r"PluginConfig .* has no gem_plugin"):
        build.set_plugins(PluginConfig(), {"gem_plugin": "auto"})


@versions
def test_the_llm_is_asked_for_its_keywords_before_it_drops_one(stub: Any, tmp_path: Path, line: str, contract: str) -> None:
    record = stub(line, contract)
    plan = llm_api_build(spec_of({"dtype": "fp16"}), Path("c"), tmp_path / "engine", None).as_json()
    plan["llm"]["max_batchsize"] = 3
    with pytest.raises(TypeError, match=rf"TrtLlmArgs of TensorRT-LLM {line}\.1 has no max_batchsize"):
        build.build(plan)
    assert not record.exists()


@versions
def test_limits_of_the_runtime_over_the_builds(stub: Any, tmp_path: Path, line: str, contract: str) -> None:
    stub(line, contract)
    spec = spec_of({"build": LIMITS})
    plan = llm_api_build(spec, Path("c"), tmp_path / "engine", None).as_json()
    plan["llm"]["max_batch_size"] = 65
    if line == "1.2":
        build.build(plan)
    else:
        with pytest.raises(ValueError, match=r"max_batch_size \[65\] is greater than build_config"):
            build.build(plan)


@pytest.mark.parametrize(
    ("keys", "says"),
    [({"max_batchsize": 1}, "has no"), ({"tensor_parallel_size": "two"}, "valid integer"), ({"load_format": "empty"}, "'auto' or 'dummy'")],
)
def test_the_stand_in_itself_refuses(stub: Any, keys: dict[str, Any], says: str) -> None:
    stub("1.2", "1.2")
    from tensorrt_llm._tensorrt_engine import LLM  # type: ignore[import-not-found]

    with pytest.raises((TypeError, ValueError), match=says):
        LLM("m", **keys)


def test_the_lines_that_build_engines() -> None:
    assert {f"{major}.{minor}" for major, minor in ENGINE_LINES} == {line for line, _ in CASES}
    assert [TensorRtLlm(text).line for text in ("1.2.1", "1.2.0rc2", "0.21.0.post1", "main")] == [(1, 2), (1, 2), (0, 21), (0, 0)]
    assert [bool(TensorRtLlm(text).builds_no_engines()) for text in ("0.21.0", "1.0.0", "1.2.1", "1.3.0rc1", "-")] == [1, 0, 0, 1, 1]
    assert "use provider llmapi" in str(TensorRtLlm("1.3.0").builds_no_engines())
    assert [bool(TensorRtLlm(text).serves_no_llmapi()) for text in ("0.21.0", "1.0.0", "2.0")] == [1, 0, 0]
