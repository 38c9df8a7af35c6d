"""Repositories for TensorRT-LLM: golden files, every name held against the recorded contracts, and every refusal."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from tests.contracts.contract import CONTAINERS, required_parameters
from tests.support.engines.trtllm_engines import FACTS, write_engine, write_templates
from trtbench.engine.spec import EngineError
from trtbench.scenario.deployment.deployment import Deployment, DynamicBatching, KvCache, QueuePolicy, Scheduler
from trtbench.scenario.deployment.tensorrt_llm import BackendParameters, TensorRtLlm
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.workload.lengths import Range
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository.renderers import kv_budget, render
from trtbench.serving.repository.tensorrt_llm.config import parameter_text, parameter_values
from trtbench.serving.repository.tensorrt_llm.engine_limits import EngineLimits
from trtbench.serving.server.launch import DIRECT
from trtbench.system import packaged_data

TESTS = Path(__file__).parents[2]
GOLDEN = TESTS / "fixtures" / "golden" / "tensorrt_llm"
CONTRACTS = {"1.0.3": "1.0", "1.1.0": "1.0", "1.2.1": "1.2"} | {version: version for version in CONTAINERS}
"""TensorRT-LLM's version: the contract that speaks for it."""

PLAIN = TensorRtLlm()
FULL = BackendParameters(
    batch_scheduler_policy="max_utilization",
    kv_cache_free_gpu_mem_fraction=0.8,
    max_attention_window_size=(2048, 4096),
    sink_token_length=4,
    kv_cache_host_memory_bytes=1 << 30,
    kv_cache_onboard_blocks=False,
    max_beam_width=1,
    normalize_log_probs=False,
    iter_stats_max_iterations=10,
    request_stats_max_iterations=5,
    stats_check_period_ms=10,
    cancellation_check_period_ms=20,
    recv_poll_period_ms=1,
    gpu_device_ids=(0,),
    decoding_mode="lookahead",
    lookahead_window_size=4,
    lookahead_ngram_size=3,
    lookahead_verification_set_size=5,
    speculative_decoding_fast_logits=True,
    gpu_weights_percent=0.5,
    multi_block_mode=False,
    enable_context_fmha_fp32_acc=True,
    cuda_graph_mode=True,
    cuda_graph_cache_size=8,
    lora_cache_optimal_adapter_size=8,
    lora_cache_max_adapter_size=64,
    lora_cache_gpu_memory_fraction=0.1,
    lora_cache_host_memory_bytes=1 << 20,
)
NOT_IN_TEMPLATES = {"recv_poll_period_ms"}  # read by the backend, named in NVIDIA's model_config.md alone
BY_COMMON_KEYS = {"gpt_model_type", "enable_kv_cache_reuse", "enable_chunked_context"}
NOT_VARIED = {
    "gpt_model_path",
    "exclude_input_in_output",
    "FORCE_CPU_ONLY_INPUT_TENSORS",
    "encoder_model_path",
    "cross_kv_cache_fraction",
    "guided_decoding_backend",
    "tokenizer_dir",
    "xgrammar_tokenizer_info_path",
    "lora_prefetch_dir",
    "num_nodes",
    "participant_ids",
    "executor_worker_path",
}
UNSET = {"tokenizer_dir", "xgrammar_tokenizer_info_path", "guided_decoding_backend"}
TREES = {"medusa": {"medusa_choices": ((0,), (0, 1))}, "eagle": {"eagle_choices": ((0, 0, 0), (0, 1))}}


def contract(version: str, family: str = "inflight_batcher_llm") -> dict[str, Any]:
    models = json.loads((TESTS / "contracts" / f"tensorrt_llm_{CONTRACTS[version]}.json").read_text())["triton_models"]
    return {name.removeprefix(f"{family}/"): model for name, model in models.items() if name.startswith(family)}


def configs(tmp_path: Path, version: str, deployment: Deployment, **engine: Any) -> dict[str, Any]:
    """Parsed config by model, as written to disk."""
    root = render(write_engine(tmp_path / "engine", version, **engine), deployment, Workload()).write(tmp_path / "models")
    parsed = {path.parent.name: text_format.Parse(path.read_text(), model_config_pb2.ModelConfig()) for path in root.glob("*/config.pbtxt")}
    assert all((root / name / "1").is_dir() and config.name == name for name, config in parsed.items())
    return parsed


def text_family(tmp_path: Path, family: Any, **more: Any) -> Deployment:
    return Deployment(tensorrt_llm=TensorRtLlm(family=family, template_dir=str(write_templates(tmp_path / "templates")), **more))


def values(config: Any) -> dict[str, str]:
    return {key: value.string_value for key, value in config.parameters.items()}


@pytest.mark.parametrize("version", ["1.0.3", "1.1.0", "1.2.1"])
@pytest.mark.parametrize("family", ["ids", "ensemble", "bls"])
def test_golden_files(tmp_path: Path, version: str, family: Any) -> None:
    """Written anew with TRTBENCH_GOLDEN=1; look at what changed before it is committed."""
    engine, deployment = write_engine(tmp_path / "engine", version), text_family(tmp_path, family)
    root = render(engine, deployment, Workload()).write(tmp_path / "models")
    for path in root.glob("*/config.pbtxt"):
        file = GOLDEN / f"{path.parent.name}.pbtxt"
        text = path.read_text().replace(str(engine.path), "/ENGINE")
        if os.environ.get("TRTBENCH_GOLDEN"):
            file.parent.mkdir(exist_ok=True, parents=True)
            file.write_text(text)
        assert text == file.read_text(), f"{file} differs"


@pytest.mark.parametrize("version", CONTRACTS)
@pytest.mark.parametrize("family", ["ensemble", "bls"])
def test_every_tensor_is_the_contracts(tmp_path: Path, version: str, family: Any) -> None:
    recorded = contract(version)
    for name, config in configs(tmp_path, version, text_family(tmp_path, family)).items():
        for way, tensors in (("inputs", config.input), ("outputs", config.output)):
            expected = {tensor["name"]: tensor for tensor in recorded[name][way]}
            assert {tensor.name for tensor in tensors} == set(expected)
            for tensor in tensors:
                said = expected[tensor.name]
                assert list(tensor.dims) == said["dims"]
                assert said["data_type"].startswith("${") or model_config_pb2.DataType.Name(tensor.data_type) == said["data_type"]
                assert tensor.HasField("reshape") == ("reshape" in said)
                if way == "inputs":
                    assert tensor.optional == said["optional"]
                    assert tensor.allow_ragged_batch == said.get("allow_ragged_batch", False)


@pytest.mark.parametrize("version", CONTRACTS)
def test_every_parameter_is_the_contracts(tmp_path: Path, version: str) -> None:
    names = {model: {one["key"] for one in said["parameters"]} for model, said in contract(version).items()}
    for family in ("ensemble", "bls"):
        for name, config in configs(tmp_path / family, version, text_family(tmp_path / family, family)).items():
            assert set(config.parameters) <= names[name], name
    assert set(BackendParameters.model_fields) - NOT_IN_TEMPLATES <= names["tensorrt_llm"]


@pytest.mark.parametrize("version", ["1.0.3", "1.1.0", "1.2.1"])
@pytest.mark.parametrize("family", ["ids", "ensemble", "bls"])
def test_every_parameter_that_is_read_unguarded_is_there(tmp_path: Path, version: str, family: Any) -> None:
    """Without one the model does not load; what nothing sets stands as NVIDIA's templates have it, unset."""
    deployment = text_family(tmp_path, family)
    required = required_parameters(version.rpartition(".")[0])
    parsed = configs(tmp_path, version, deployment)
    assert {name: set(required[name]) - set(config.parameters) for name, config in parsed.items()} == {name: set() for name in parsed}
    assert values(parsed["tensorrt_llm"])["tokenizer_dir"] == "${tokenizer_dir}"


@pytest.mark.parametrize("version", CONTRACTS)
def test_every_parameter_of_the_backend_is_a_key_or_left_out_for_a_reason(version: str) -> None:
    """docs/serving-trtllm.md has the reasons."""
    there = {one["key"] for one in contract(version)["tensorrt_llm"]["parameters"]} | NOT_IN_TEMPLATES
    assert there - set(BackendParameters.model_fields) == BY_COMMON_KEYS | NOT_VARIED
    told = (TESTS.parent / "docs" / "serving-trtllm.md").read_text()
    assert not [key for key in BY_COMMON_KEYS | NOT_VARIED if f"`{key}`" not in told]


def test_the_leaders_poll_is_of_the_orchestrator() -> None:
    parameters = {"recv_poll_period_ms": 1}
    assert TensorRtLlm.model_validate({"launch": "orchestrator", "parameters": parameters}).parameters.recv_poll_period_ms == 1
    with pytest.raises(ValueError, match="recv_poll_period_ms = 1 is read under launch orchestrator only, which is auto"):
        TensorRtLlm.model_validate({"parameters": parameters})


def test_every_parameter_is_written_as_the_backend_reads_it(tmp_path: Path) -> None:
    settings = TensorRtLlm(parameters=FULL, batching_strategy="V1", launch="orchestrator")
    deployment = Deployment(tensorrt_llm=settings, kv_cache=KvCache(blocks=100))
    written = values(configs(tmp_path, "1.2.1", deployment, weight_streaming=True)["tensorrt_llm"])
    assert written.pop("gpt_model_path") == str(tmp_path / "engine")
    assert {name: written.pop(name) for name in UNSET} == {name: f"${{{name}}}" for name in UNSET}
    assert written == {
        "gpt_model_type": "V1",
        "FORCE_CPU_ONLY_INPUT_TENSORS": "no",
        "exclude_input_in_output": "true",
        "enable_kv_cache_reuse": "false",
        "enable_chunked_context": "true",
        "max_tokens_in_paged_kv_cache": "3200",
        "batch_scheduler_policy": "max_utilization",
        "kv_cache_free_gpu_mem_fraction": "0.8",
        "max_attention_window_size": "2048,4096",
        "sink_token_length": "4",
        "kv_cache_host_memory_bytes": "1073741824",
        "kv_cache_onboard_blocks": "false",
        "max_beam_width": "1",
        "normalize_log_probs": "false",
        "iter_stats_max_iterations": "10",
        "request_stats_max_iterations": "5",
        "stats_check_period_ms": "10",
        "cancellation_check_period_ms": "20",
        "recv_poll_period_ms": "1",
        "gpu_device_ids": "0",
        "decoding_mode": "lookahead",
        "lookahead_window_size": "4",
        "lookahead_ngram_size": "3",
        "lookahead_verification_set_size": "5",
        "speculative_decoding_fast_logits": "true",
        "gpu_weights_percent": "0.5",
        "multi_block_mode": "false",
        "enable_context_fmha_fp32_acc": "true",
        "cuda_graph_mode": "true",
        "cuda_graph_cache_size": "8",
        "lora_cache_optimal_adapter_size": "8",
        "lora_cache_max_adapter_size": "64",
        "lora_cache_gpu_memory_fraction": "0.1",
        "lora_cache_host_memory_bytes": "1048576",
    }


@pytest.mark.parametrize(("mode", "tree", "text"), [("medusa", "medusa_choices", "{0},{0,1}"), ("eagle", "eagle_choices", "{0,0,0},{0,1}")])
def test_trees_are_paths_in_braces(mode: Any, tree: str, text: str) -> None:
    assert parameter_text(parameter_values(BackendParameters(decoding_mode=mode, **TREES[mode]))[tree]) == text


def test_what_is_left_out_is_the_backends_own(tmp_path: Path) -> None:
    config = configs(tmp_path, "1.2.1", Deployment(dynamic_batching=None))["tensorrt_llm"]
    common = {"gpt_model_type", "gpt_model_path", "FORCE_CPU_ONLY_INPUT_TENSORS", "exclude_input_in_output"}
    assert set(config.parameters) == common | UNSET | {"enable_kv_cache_reuse", "enable_chunked_context"}
    assert not config.HasField("dynamic_batching")
    assert config.backend == "tensorrtllm"
    assert config.model_transaction_policy.decoupled
    assert [(group.count, group.kind) for group in config.instance_group] == [(1, model_config_pb2.ModelInstanceGroup.KIND_CPU)]


def test_the_queues_bound_and_timeouts(tmp_path: Path) -> None:
    policy = QueuePolicy(max_queue_size=9, timeout_us=50, timeout_action="delay")
    batching = DynamicBatching(
        preferred_batch_sizes=(2, 4), max_queue_delay_us=7, priority_levels=3, default_priority_level=2, queue_policy=policy
    )
    config = configs(tmp_path, "1.2.1", Deployment(dynamic_batching=batching, max_batch_size=4))["tensorrt_llm"]
    found = config.dynamic_batching
    assert (config.max_batch_size, list(found.preferred_batch_size), found.max_queue_delay_microseconds) == (4, [2, 4], 7)
    assert (found.priority_levels, found.default_priority_level) == (3, 2)
    found = found.default_queue_policy
    assert (found.max_queue_size, found.default_timeout_microseconds, found.timeout_action) == (9, 50, found.DELAY)


def test_text_families_bring_nvidias_code_and_the_tokenizer(tmp_path: Path) -> None:
    deployment = text_family(tmp_path, "bls", bls_instances=16, preprocessing_instances=2, accumulate_tokens=True, add_special_tokens=True)
    repository = render(write_engine(tmp_path / "engine"), deployment, Workload())
    root = repository.write(tmp_path / "models")
    assert repository.model_name == "tensorrt_llm_bls"
    assert sorted(path.name for path in root.iterdir()) == ["postprocessing", "preprocessing", "tensorrt_llm", "tensorrt_llm_bls"]
    assert (root / "preprocessing" / "1" / "model.py").read_text() == "# NVIDIA's\n"
    assert not (root / "tensorrt_llm" / "1" / "model.py").exists()  # the C++ backend has none
    parsed = {path.parent.name: text_format.Parse(path.read_text(), model_config_pb2.ModelConfig()) for path in root.glob("*/config.pbtxt")}
    assert parsed["tensorrt_llm_bls"].instance_group[0].count == 16
    assert parsed["preprocessing"].instance_group[0].count == 2
    assert values(parsed["tensorrt_llm_bls"]) == {"accumulate_tokens": "true", "tensorrt_llm_model_name": "tensorrt_llm"}
    assert values(parsed["preprocessing"])["add_special_tokens"] == "true"
    assert values(parsed["postprocessing"])["tokenizer_dir"] == str(tmp_path / "engine")


@pytest.mark.parametrize("version", ["1.0.3", "1.2.1"])
def test_every_tensor_of_the_ensemble_has_its_step(tmp_path: Path, version: str) -> None:
    parsed = configs(tmp_path, version, text_family(tmp_path, "ensemble"))
    ensemble = parsed["ensemble"]
    read, written = set(), set()
    for step in ensemble.ensemble_scheduling.step:
        model = parsed[step.model_name]
        assert set(step.input_map) <= {tensor.name for tensor in model.input}
        assert set(step.output_map) <= {tensor.name for tensor in model.output}
        assert {tensor.name for tensor in model.input if not tensor.optional} <= set(step.input_map)
        assert set(step.input_map.values()) <= written | {tensor.name for tensor in ensemble.input}
        read |= set(step.input_map.values())
        written |= set(step.output_map.values())
    assert {tensor.name for tensor in ensemble.input} <= read
    assert {tensor.name for tensor in ensemble.output} <= written


@pytest.mark.parametrize(
    ("engine", "deployment", "said"),
    [
        ({}, {"instances": 2}, "instances = 2: tensorrt_llm has one instance a server"),
        ({}, {"inference_threads": 2}, "inference_threads = 2 is a setting of the CPU engine"),
        ({}, {"llmapi": {}}, "llmapi: read by the provider llmapi alone, this is tensorrt_llm"),
        ({}, {"scheduler": {"max_sequences": 48}}, "takes it from the engine's build, where max_batch_size is 64"),
        ({}, {"scheduler": {"max_tokens_per_step": 99}}, "where max_num_tokens is 8192"),
        ({}, {"kv_cache": {"dtype": "int8"}}, "kv_cache.dtype = 'int8': the engine was built with fp16"),
        (
            {"kv": "INT8"},
            {"kv_cache": {"prefix_caching": True}},
            "prefix_caching = true needs paged context attention, and an INT8",
        ),
        ({"kv": "INT8"}, {}, "scheduler.chunked_prefill = true needs paged context attention, and an INT8 KV cache excludes it"),
        ({"plugins": {"use_paged_context_fmha": False}}, {}, "built without use_paged_context_fmha"),
        ({}, {"kv_cache": {"blocks": 1}}, "kv_cache budget of 1 blocks"),
        ({"max_seq_len": 64}, {}, "over the engine's (max_seq_len) 64 positions"),
        ({"max_num_tokens": 64}, {"scheduler": {"chunked_prefill": False}}, "over the engine's longest prompt, 64"),
        ({}, {"tensorrt_llm": {"parameters": {"max_beam_width": 2}}}, "max_beam_width = 2 is over the engine's 1"),
        ({}, {"tensorrt_llm": {"parameters": {"gpu_weights_percent": 0.5}}}, "needs an engine of weight_streaming"),
        ({"tp": 2}, {"tensorrt_llm": {"parameters": {"gpu_device_ids": [0]}}}, "must name 2 GPUs"),
        ({"tp": 2}, {"tensorrt_llm": {"launch": "direct"}}, "the engine has 2 ranks"),
        ({}, {"tensorrt_llm": {"template_dir": "/none"}}, "template_dir = '/none' is not a directory"),
        ({}, {"tensorrt_llm": {"family": "ensemble"}}, "NVIDIA's inflight_batcher_llm model preprocessing"),
        ({"version": "1.3.0"}, {}, "serves no engines, 1.2 was the last"),
        ({"version": "0.21.0"}, {}, "engines of TensorRT-LLM 0.21.0 are not supported: build them again with 1.0 to 1.2"),
        ({"version": "new"}, {}, "version 'new', which is not a version"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, engine: dict[str, Any], deployment: dict[str, Any], said: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        render(write_engine(tmp_path / "engine", **engine), Deployment.model_validate(deployment), Workload())
    assert said in str(refused.value)


def test_no_engine_no_repository(tmp_path: Path) -> None:
    engine = write_engine(tmp_path / "engine")
    (tmp_path / "engine" / "config.json").write_text('{"builder_config": {}}')
    with pytest.raises(EngineError, match=r"config.json is not a TensorRT-LLM engine's .*build_config"):
        render(engine, Deployment(), Workload())


def test_the_recorded_deployment_has_the_limits_of_the_build(tmp_path: Path) -> None:
    """So the report says what ran, not what a default says; asking for just that is no contradiction."""
    engine = write_engine(tmp_path / "engine")
    served = render(engine, Deployment(), Workload()).served
    assert served and (served.scheduler.max_sequences, served.scheduler.max_tokens_per_step) == (64, 8192)
    assert render(engine, Deployment.model_validate(served.model_dump()), Workload()).served == served


@pytest.mark.parametrize(
    ("asked", "blocks", "tokens"),
    [
        ({}, None, None),
        ({"kv_cache": {"blocks": 100}}, 100, "3200"),
        ({"kv_cache": {"bytes": 100 * 32 * FACTS.kv_bytes_per_token("fp16") + 1}}, 100, "3200"),
        ({"tensorrt_llm": {"parameters": {"max_tokens_in_paged_kv_cache": 3190}}}, 100, "3200"),
    ],
)
def test_kv_budget(tmp_path: Path, asked: dict[str, Any], blocks: int | None, tokens: str | None) -> None:
    repository = render(write_engine(tmp_path / "engine"), Deployment.model_validate(asked), Workload())
    assert repository.kv.blocks == blocks
    config = text_format.Parse(repository.config, model_config_pb2.ModelConfig())
    assert values(config).get("max_tokens_in_paged_kv_cache") == tokens


def test_kv_types_and_bytes_are_the_engines(tmp_path: Path) -> None:
    off = Deployment(scheduler=Scheduler(chunked_prefill=False))
    int8 = render(write_engine(tmp_path / "int8", kv="INT8"), off, Workload()).kv
    assert (int8.dtype, int8.bytes_per_token, int8.bytes) == ("int8", 2 * 32 * 8 * 128, None)
    assert render(write_engine(tmp_path / "fp8", kv="FP8"), Deployment(), Workload()).kv.dtype == "fp8"


def test_before_the_engine_the_budget_is_what_is_asked() -> None:
    assert kv_budget("tensorrt_llm", FACTS, 32, Deployment(kv_cache=KvCache(blocks=40)), Workload()).blocks == 40
    assert kv_budget("tensorrt_llm", FACTS, 32, Deployment(), Workload()).blocks is None
    asked = Deployment(kv_cache=KvCache(bytes=1 << 30, dtype="int8"))
    assert kv_budget("tensorrt_llm", FACTS, 32, asked, Workload()).blocks == (1 << 30) // (32 * 65536)
    for provider in ("openvino", "llmapi"):
        with pytest.raises(ScenarioError, match="tensorrt_llm: read by the provider tensorrt_llm alone"):
            kv_budget(provider, FACTS, 32, Deployment(tensorrt_llm=PLAIN), Workload())


def test_one_gpu_is_started_directly(tmp_path: Path) -> None:
    launch = render(write_engine(tmp_path / "engine"), Deployment(), Workload()).launch
    assert launch.command(lambda rank: ["tritonserver"]) == DIRECT.command(lambda rank: ["tritonserver"])


def test_longest_prompt() -> None:
    limits = EngineLimits(8, 512, 1024, 1, 1, "fp16", True, False)
    assert (limits.longest_prompt_tokens(True), limits.longest_prompt_tokens(False)) == (1023, 512)


@given(st.text(min_size=1, max_size=40))
def test_any_path_survives_the_protobuf_text(name: str) -> None:
    config = text_format.Parse((packaged_data.MODEL_REPO / "tensorrt_llm/tensorrt_llm.pbtxt").read_text(), model_config_pb2.ModelConfig())
    config.parameters["gpt_model_path"].string_value = name
    text = text_format.MessageToString(config, as_utf8=True)
    assert text_format.Parse(text, model_config_pb2.ModelConfig()).parameters["gpt_model_path"].string_value == name


def test_a_workload_over_one_step_needs_chunks(tmp_path: Path) -> None:
    engine = write_engine(tmp_path / "engine", max_num_tokens=512)
    long = Workload(input_tokens=Range(min=1000, max=1000), output_tokens=Range(min=8, max=8))
    assert render(engine, Deployment(), long)
    with pytest.raises(ScenarioError, match="chunked context off"):
        render(engine, Deployment(scheduler=Scheduler(chunked_prefill=False)), long)
