"""NVIDIA's llmapi model: model.yaml held against the recorded keywords of tensorrt_llm.LLM, version by version."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from tests.contracts.stub import environment, write_stub
from tests.support.engines.trtllm_engines import FACTS, engine_of, write_templates
from trtbench.engine.tensorrt_llm.versions import installed_llm_names
from trtbench.scenario.deployment.deployment import Deployment, KvCache, Scheduler
from trtbench.scenario.deployment.tensorrt_llm import LlmApi, TensorRtLlm
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository.renderers import RENDERERS, kv_budget, render
from trtbench.system import packaged_data

CONTRACTS = Path(__file__).parents[2] / "contracts"
GOLDEN = CONTRACTS.parent / "fixtures" / "golden"
VERSIONS = {"1.0.3": "1.0", "1.1.0": "1.0", "1.2.1": "1.2"}
EVERYTHING = LlmApi(
    free_gpu_memory_fraction=0.8,
    host_cache_bytes=1 << 30,
    capacity_scheduler_policy="MAX_UTILIZATION",
    context_chunking_policy="EQUAL_PROGRESS",
    cuda_graphs=True,
    disable_overlap_scheduler=True,
    attn_backend="FLASHINFER",
    stream_interval=2,
    cancellation_check_period_ms=50,
    options={"enable_attention_dp": True, "kv_cache_config": {"enable_partial_reuse": False}},
)


def rendered(tmp_path: Path, deployment: dict[str, Any], version: str = "1.2.1", **options: Any) -> Any:
    templates = tmp_path / "llmapi"
    if not templates.exists():
        write_templates(templates)
    asked = Deployment.model_validate({**deployment, "llmapi": {"template_dir": str(templates), **deployment.get("llmapi", {})}})
    return render(engine_of(tmp_path / "checkpoint", "llmapi", version, **options), asked, Workload())


def keywords(line: str) -> Any:
    return json.loads((CONTRACTS / f"tensorrt_llm_{line}.json").read_text())


def test_what_is_written(tmp_path: Path) -> None:
    deployment = {"kv_cache": {"blocks": 100, "dtype": "fp8", "prefix_caching": True}, "scheduler": {"max_sequences": 48}}
    repository = rendered(tmp_path, {**deployment, "llmapi": EVERYTHING.model_dump(exclude={"template_dir"})}, asked={"tp": 2})
    root = repository.write(tmp_path / "models")
    assert yaml.safe_load((root / "tensorrt_llm" / "1" / "model.yaml").read_text()) == {
        "model": str(tmp_path / "checkpoint"),
        "backend": "pytorch",
        "tensor_parallel_size": 2,
        "pipeline_parallel_size": 1,
        "max_batch_size": 48,
        "max_num_tokens": 1024,
        "enable_chunked_prefill": True,
        "kv_cache_config": {
            "enable_block_reuse": True,
            "dtype": "fp8",
            "max_tokens": 3200,
            "free_gpu_memory_fraction": 0.8,
            "host_cache_size": 1 << 30,
            "enable_partial_reuse": False,
        },
        "scheduler_config": {"capacity_scheduler_policy": "MAX_UTILIZATION", "context_chunking_policy": "EQUAL_PROGRESS"},
        "disable_overlap_scheduler": True,
        "attn_backend": "FLASHINFER",
        "stream_interval": 2,
        "cuda_graph_config": {"enable_padding": True},
        "enable_attention_dp": True,
        "triton_config": {"max_batch_size": 0, "decoupled": True, "cancellation_check_period_ms": 50},
    }
    assert (root / "tensorrt_llm" / "1" / "model.py").read_text() == "# NVIDIA's\n"
    assert (repository.kv.dtype, repository.kv.bytes_per_token) == ("fp8", 65536)


@pytest.mark.parametrize(("version", "golden"), [("1.0.3", "1.0"), ("1.1.0", "1.0"), ("1.2.1", "1.2")])
def test_golden_files(tmp_path: Path, version: str, golden: str) -> None:
    """All that the version takes. Written anew with TRTBENCH_GOLDEN=1; look at what changed before it is committed."""
    build: dict[str, Any] = {"tp": 2, "max_seq_len": 4096}
    if golden == "1.2":
        build["kv_block_tokens"] = 64  # kv_cache_config.tokens_per_block, which 1.0 has not
    asked = {"kv_cache": {"blocks": 100, "prefix_caching": True}, "llmapi": EVERYTHING.model_dump(exclude={"template_dir"})}
    text = rendered(tmp_path, asked, version, asked=build).files["model.yaml"].replace(str(tmp_path / "checkpoint"), "/CHECKPOINT")
    file = GOLDEN / f"llmapi-{golden}" / "model.yaml"
    if os.environ.get("TRTBENCH_GOLDEN"):
        file.parent.mkdir(exist_ok=True, parents=True)
        file.write_text(text)
    assert text == file.read_text(), f"{file} differs"


def test_a_block_size_is_not_of_1_0(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError, match=r"kv_cache_config\.tokens_per_block is not known of TensorRT-LLM 1\.0\.3"):
        rendered(tmp_path, {}, "1.0.3", asked={"kv_block_tokens": 64})


def test_the_config_leaves_to_model_yaml_what_is_its(tmp_path: Path) -> None:
    """The model completes its own configuration, so Triton must not be told to leave that out."""
    repository = rendered(tmp_path, {})
    config = text_format.Parse(repository.config, model_config_pb2.ModelConfig())
    assert (config.backend, config.max_batch_size, config.HasField("model_transaction_policy")) == ("python", 0, False)
    assert [(group.count, group.kind) for group in config.instance_group] == [(1, model_config_pb2.ModelInstanceGroup.KIND_CPU)]
    assert repository.server_flags == ()
    assert repository.served and repository.served.dynamic_batching is None
    said = keywords("1.2")["triton_models"]["llmapi/tensorrt_llm"]
    assert [tensor.name for tensor in config.input] == [tensor["name"] for tensor in said["inputs"]]
    assert [tensor.name for tensor in config.output] == [tensor["name"] for tensor in said["outputs"]]


@pytest.mark.parametrize(("version", "line"), VERSIONS.items())
def test_every_keyword_is_the_contracts(tmp_path: Path, version: str, line: str) -> None:
    asked = {"llmapi": EVERYTHING.model_dump(exclude={"template_dir"})}
    written = yaml.safe_load(rendered(tmp_path, asked, version).files["model.yaml"])
    assert set(written.pop("triton_config")) <= {"max_batch_size", "decoupled", "cancellation_check_period_ms"}
    said = keywords(line)
    assert set(written) <= set(said["effective_keywords"]["TorchLlmArgs"])
    for key, name in (
        ("kv_cache_config", "KvCacheConfig"),
        ("scheduler_config", "SchedulerConfig"),
        ("cuda_graph_config", "CudaGraphConfig"),
    ):
        assert set(written[key]) <= set(said["classes"][name]["fields"])


@pytest.mark.parametrize("line", ["1.0", "1.2"])
def test_the_shipped_keywords_are_the_contracts(line: str) -> None:
    said = keywords(line)
    shipped = yaml.safe_load((packaged_data.MODEL_REPO / "llmapi" / "keywords.yaml").read_text())[line]
    assert set(shipped["LLM"]) == {key for key in said["effective_keywords"]["TorchLlmArgs"] if not key.startswith("_")}
    assert set(shipped["kv_cache_config"]) <= set(said["classes"]["KvCacheConfig"]["fields"])


@pytest.mark.parametrize(
    ("deployment", "version", "said"),
    [
        ({"llmapi": {"options": {"max_batchsize": 4}}}, "1.2.1", "max_batchsize is not known of TensorRT-LLM 1.2.1's LLM"),
        ({"llmapi": {"options": {"return_perf_metrics": True}}}, "1.0.0", "return_perf_metrics is not known of TensorRT-LLM 1.0.0's LLM"),
        ({"llmapi": {"options": {"kv_cache_config": {"tokens": 1}}}}, "1.2.1", "kv_cache_config.tokens is not known"),
        ({"llmapi": {"options": {"kv_cache_config": {"dtype": "fp8"}}}}, "1.2.1", "options.kv_cache_config.dtype has a key of its own"),
        ({"llmapi": {"options": {"max_batch_size": 4}}}, "1.2.1", "options.max_batch_size has a key of its own"),
        ({"kv_cache": {"dtype": "int8"}}, "1.2.1", "kv_cache.dtype = 'int8': TensorRT-LLM's PyTorch backend has auto, fp16, fp8"),
        ({"kv_cache": {"blocks": 1}}, "1.2.1", "kv_cache budget of 1 blocks"),
        ({"max_batch_size": 16}, "1.2.1", "max_batch_size = 16: the llmapi model batches in flight alone"),
        ({"dynamic_batching": {"max_queue_delay_us": 5}}, "1.2.1", "dynamic_batching: the llmapi model batches in flight alone"),
        ({"instances": 2}, "1.2.1", "instances = 2: llmapi has one instance"),
        ({}, "0.21.0", "provider llmapi needs TensorRT-LLM 1.0 or later"),
    ],
)
def test_what_does_not_go_together_is_refused(tmp_path: Path, deployment: dict[str, Any], version: str, said: str) -> None:
    with pytest.raises(ScenarioError) as refused:
        rendered(tmp_path, deployment, version)
    assert said in str(refused.value)


@pytest.mark.process
def test_a_keyword_beyond_the_record_is_asked_of_the_installed_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a 1.2.x that has more than 1.2.1: a name that is not on record is passed only where the installed class has it."""
    unsure = "model_kwargs"
    with pytest.raises(ScenarioError, match="no installed one could be asked"):
        rendered(tmp_path, {"llmapi": {"options": {unsure: 1}}})
    write_stub(tmp_path / "stub", "1.2", "1.2.1")
    page = tmp_path / "stub" / "tensorrt_llm" / "llmapi" / "llm_args.py"
    page.write_text(page.read_text() + f"\nclass TorchLlmArgs(TorchLlmArgs):\n    {unsure}: object = None\n")
    monkeypatch.syspath_prepend(str(tmp_path / "stub"))
    for name, value in environment(tmp_path / "stub").items():
        monkeypatch.setenv(name, value)
    installed_llm_names.cache_clear()
    assert yaml.safe_load(rendered(tmp_path, {"llmapi": {"options": {unsure: 1}}}).files["model.yaml"])[unsure] == 1
    with pytest.raises(ScenarioError, match=r"of_nobody is not known of TensorRT-LLM 1\.2\.1's LLM, nor has the installed class it"):
        rendered(tmp_path, {"llmapi": {"options": {"of_nobody": 1}}})
    installed_llm_names.cache_clear()


def test_a_later_version_is_held_against_the_last_one_known(tmp_path: Path) -> None:
    assert rendered(tmp_path, {}, "1.4.0").files["model.yaml"] == rendered(tmp_path, {}, "1.2.1").files["model.yaml"]


def test_cuda_graphs_off_and_settings_left_out(tmp_path: Path) -> None:
    assert yaml.safe_load(rendered(tmp_path, {"llmapi": {"cuda_graphs": False}}).files["model.yaml"])["cuda_graph_config"] is None
    plain = yaml.safe_load(rendered(tmp_path, {"kv_cache": {"dtype": "fp16"}}).files["model.yaml"])
    assert plain["kv_cache_config"] == {"enable_block_reuse": False, "dtype": "auto"}
    assert not {"scheduler_config", "cuda_graph_config", "attn_backend"} & set(plain)


def test_the_grids_in_flight_axes_are_the_llm_apis(tmp_path: Path) -> None:
    for sequences in (8, 64):
        written = yaml.safe_load(rendered(tmp_path, {"scheduler": {"max_sequences": sequences}}).files["model.yaml"])
        assert written["max_batch_size"] == sequences


def test_before_the_checkpoint_the_budget_is_what_is_asked() -> None:
    asked = Deployment(kv_cache=KvCache(bytes=1 << 30, dtype="fp8"), scheduler=Scheduler())
    assert kv_budget("llmapi", FACTS, 32, asked, Workload()).blocks == (1 << 30) // (32 * 65536)
    assert kv_budget("llmapi", FACTS, 32, Deployment(), Workload()).blocks is None


def test_what_the_build_options_say_is_the_llm_apis_too(tmp_path: Path) -> None:
    asked = {"pp": 2, "max_batch_size": 16, "max_seq_len": 4096, "kv_block_tokens": 64, "dummy_weights": True}
    repository = rendered(tmp_path, {}, asked=asked, checkpoint="/models/llama")
    written = yaml.safe_load(repository.files["model.yaml"])
    expected = {"model": "/models/llama", "pipeline_parallel_size": 2, "max_batch_size": 16, "max_seq_len": 4096, "load_format": "dummy"}
    assert expected.items() <= written.items()
    assert written["kv_cache_config"]["tokens_per_block"] == 64
    assert repository.served.scheduler.max_sequences == 16
    assert (repository.positions, rendered(tmp_path, {}).positions) == (4096, None)
    with pytest.raises(ScenarioError, match=r"scheduler.max_sequences = 8 and build.max_batch_size = 16"):
        rendered(tmp_path, {"scheduler": {"max_sequences": 8}}, asked=asked)
    with pytest.raises(ScenarioError, match=r"is over the LLM API's \(max_seq_len\) 16 positions"):
        rendered(tmp_path, {}, asked={"max_seq_len": 16})


def test_bytes_of_the_kv_cache_need_its_type(tmp_path: Path) -> None:
    asked = {"bytes": 100 * 32 * FACTS.kv_bytes_per_token("fp16")}
    assert rendered(tmp_path, {"kv_cache": asked | {"dtype": "fp16"}}).kv.blocks == 100
    with pytest.raises(ScenarioError, match="the checkpoint does not say its KV cache's type"):
        rendered(tmp_path, {"kv_cache": asked})


def test_which_deployments_take_text() -> None:
    ids, bls = Deployment(), Deployment(tensorrt_llm=TensorRtLlm(family="bls"))
    assert not RENDERERS["tensorrt_llm"].takes_text(ids) and not RENDERERS["openvino"].takes_text(ids)
    assert RENDERERS["tensorrt_llm"].takes_text(bls) and RENDERERS["llmapi"].takes_text(ids)


def test_what_this_machine_lacks_is_reported_before_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    check_trtllm, check_llmapi = RENDERERS["tensorrt_llm"].check_installed, RENDERERS["llmapi"].check_installed
    RENDERERS["openvino"].check_installed(Deployment())
    check_trtllm(Deployment())
    with pytest.raises(ScenarioError, match="model preprocessing"):
        check_trtllm(Deployment(tensorrt_llm=TensorRtLlm(family="bls")))
    with pytest.raises(ScenarioError, match="mpirun is not on PATH"):
        check_trtllm(Deployment(tensorrt_llm=TensorRtLlm(launch="orchestrator")))
    with pytest.raises(ScenarioError, match="NVIDIA's llmapi model tensorrt_llm"):
        check_llmapi(Deployment())
    templates = str(write_templates(tmp_path / "llmapi"))
    with pytest.raises(ScenarioError, match="mpirun is not on PATH"):
        check_llmapi(Deployment(llmapi=LlmApi(template_dir=templates)))
    check_llmapi(Deployment(llmapi=LlmApi(template_dir=templates, launch="direct")))


def test_no_hot_reload() -> None:
    assert "the llmapi model cannot be loaded a second time" in (RENDERERS["llmapi"].no_reload(Deployment()) or "")
