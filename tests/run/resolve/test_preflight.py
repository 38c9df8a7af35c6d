from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.engines.engine_directory import write_engine
from trtbench.engine.build import PROVIDERS
from trtbench.engine.spec import EngineError
from trtbench.errors import UserError
from trtbench.run.prepare import check_machine
from trtbench.run.resolve import resolved
from trtbench.run.resolve.preflight import check_levels, check_open_files, check_writable
from trtbench.run.resolve.resolved import resolve
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import load_scenario, parse_scenario
from trtbench.scenario.scenario import Scenario
from trtbench.serving.server.installation import InstallationError
from trtbench.system import packaged_data

pytestmark = pytest.mark.skipif(PROVIDERS["openvino"].unavailable() is not None, reason=str(PROVIDERS["openvino"].unavailable()))


RELOAD = {"reloads": [{"kind": "new_version"}]}
OPEN_LOOP = [{"mode": "poisson", "rate": 1, "duration_s": 60}]
EXCLUSIVE = {"compute_mode": "exclusive_process"}


def scenario(**more: Any) -> Scenario:
    return parse_scenario({"name": "mini", "provider": "openvino", "load": [{"concurrency": 1, "requests": 1}]} | more, "mini")


def test_what_a_run_will_use() -> None:
    found = resolve(scenario(deployments={"a": {}, "b": {"kv_cache": {"blocks": 9}}}))
    assert (found.provider.name, found.facts.max_positions) == ("openvino", 8192)
    assert found.budgets["b"].blocks == 9
    assert found.budgets["a"].blocks == 5 * 32


@pytest.mark.parametrize(
    ("more", "error", "says"),
    [
        ({"model": "no-such"}, EngineError, "'no-such' is neither a demo"),
        ({"model": "/"}, EngineError, "/ is not a Hugging Face checkpoint"),
        ({"provider": "tensorrt_llm"}, EngineError, "provider tensorrt_llm cannot run here"),
        ({"engines": ["fp16", "fp8"]}, EngineError, "OpenVINO engines are fp16 or int8, not fp8"),
        ({"build": {"tp": 2}}, EngineError, "build.tp is an option of TensorRT-LLM's engines"),
        ({"workload": {"dataset": "none.json"}}, UserError, "workload.dataset: none.json cannot be read"),
        ({"workload": {"input_tokens": 8192}}, ScenarioError, "deployments.default: workload.input_tokens + workload.output_tokens"),
        ({"deployments": {"a": {}, "b": {"kv_cache": {"blocks": 4}}}}, ScenarioError, "deployments.b: kv_cache budget of 4 blocks"),
        ({"deployments": {"a": {"kv_cache": {"dtype": "fp8"}}}}, ScenarioError, "deployments.a: kv_cache.dtype = 'fp8'"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_is_spent(more: dict[str, Any], error: type[Exception], says: str) -> None:
    with pytest.raises(error) as caught:
        resolve(scenario(**more))
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stage", "says"),
    [
        ({"concurrency": 128, "requests": 24}, "load: stage c128 has 24 requests for 128 users"),
        ({"concurrency": 2, "requests": 1, "duration_s": 60}, "give it at least 2 requests"),
    ],
)
def test_a_level_that_cannot_be_reached_is_refused(stage: dict[str, Any], says: str) -> None:
    with pytest.raises(ScenarioError, match=says):
        resolve(scenario(load=[{"concurrency": 1, "requests": 1}, stage]))


@pytest.mark.parametrize(
    "stage",
    [
        {"concurrency": 2, "requests": 2},
        {"concurrency": 128, "duration_s": 1},
        {"concurrency": {"from": 1, "to": 8}, "duration_s": 60, "requests": 4},
        {"mode": "poisson", "rate": 8, "requests": 2},
    ],
)
def test_a_level_that_can_be_reached_or_is_a_rate_is_not(stage: dict[str, Any]) -> None:
    check_levels(scenario(load=[stage]))


@pytest.fixture
def tensorrt_llm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its engines can be built here, of anything."""
    provider = PROVIDERS["tensorrt_llm"]
    monkeypatch.setattr(provider, "unavailable", lambda: None)
    monkeypatch.setattr(provider, "refusal", lambda spec: None)


@pytest.mark.usefixtures("tensorrt_llm")
@pytest.mark.parametrize(
    ("build", "deployment", "says"),
    [
        ({"kv_dtype": "int8"}, {}, "deployments.default.scheduler.chunked_prefill is true, but not available under build.kv_dtype int8"),
        (
            {"kv_dtype": "fp8"},
            {"kv_cache": {"prefix_caching": True}, "scheduler": {"chunked_prefill": False}},
            "kv_cache.prefix_caching is",
        ),
        ({"paged_context_fmha": False}, {}, "under build.paged_context_fmha false: set it to false"),
    ],
)
def test_what_tensorrt_llm_would_turn_off_without_a_word(build: dict[str, Any], deployment: dict[str, Any], says: str) -> None:
    more = {"provider": "tensorrt_llm", "build": build, "deployments": {"default": deployment}}
    with pytest.raises(ScenarioError) as caught:
        resolve(scenario(**more))
    assert says in str(caught.value)
    more["deployments"] = {"default": {"scheduler": {"chunked_prefill": False}}}
    resolve(scenario(**more))


@pytest.mark.usefixtures("tensorrt_llm")
@pytest.mark.parametrize(
    ("more", "deployment", "says"),
    [
        ({"build": {"max_seq_len": 512}, "workload": {"input_tokens": 512}}, {}, "is over the engine's (max_seq_len) 512 positions"),
        (
            {"build": {"max_num_tokens": 256}, "workload": {"input_tokens": 300}},
            {"scheduler": {"chunked_prefill": False}},
            "is over the engine's longest prompt, 256 (max_seq_len 8192, max_num_tokens 256, chunked context off)",
        ),
        (
            {"workload": {"input_tokens": 300}},
            {"scheduler": {"max_tokens_per_step": 256, "chunked_prefill": False}},
            "is over the engine's longest prompt, 256",
        ),
        (
            {},
            {"scheduler": {"max_tokens_per_step": 31}},
            "= 31: TensorRT-LLM builds for no fewer than the 32 tokens of a KV block; give 32",
        ),
        (
            {"build": {"max_seq_len": 512}},
            {"scheduler": {"max_sequences": 1, "max_tokens_per_step": 513}},
            "= 513: 1 sequences of 512 tokens are 512, and TensorRT-LLM builds for no more",
        ),
        ({"build": {"max_batch_size": 16}}, {"scheduler": {"max_sequences": 64}}, "scheduler.max_sequences = 64: TensorRT-LLM takes it"),
        (
            {"build": {"kv_dtype": "int8"}},
            {"kv_cache": {"dtype": "fp16"}, "scheduler": {"chunked_prefill": False}},
            "kv_cache.dtype = 'fp16': the engine was built with int8",
        ),
        ({}, {"replicas": {"servers": 2}}, "replicas.servers = 2 on the same GPUs"),
        ({"hot_reload": RELOAD, "load": OPEN_LOOP}, {}, "hot_reload loads a second engine next to the first"),
        ({"hot_reload": RELOAD, "load": OPEN_LOOP, "build": {"tp": 2}}, {}, "hot_reload: the engine has 2 ranks"),
        (
            {"hot_reload": RELOAD, "load": OPEN_LOOP},
            {"tensorrt_llm": {"family": "ensemble"}},
            "deployments.a: tensorrt_llm.family is ensemble, and hot_reload loads one model alone",
        ),
        ({"gpu": EXCLUSIVE, "build": {"tp": 2}}, {}, "lets one process in, and each of the engine's 2 ranks"),
        ({"gpu": EXCLUSIVE}, {"tensorrt_llm": {"launch": "orchestrator"}}, "lets one process in, and the orchestrator"),
    ],
)
def test_what_an_engine_cannot_is_said_before_its_build(more: dict[str, Any], deployment: dict[str, Any], says: str) -> None:
    asked = scenario(**{"provider": "tensorrt_llm", "deployments": {"a": deployment}} | more)
    with pytest.raises(ScenarioError) as caught:
        resolve(asked)
    assert says in str(caught.value)


@pytest.mark.usefixtures("tensorrt_llm")
def test_what_an_engine_can_is_let_through() -> None:
    bounded = {"kv_cache": {"blocks": 64}}
    ours: dict[str, Any] = {"provider": "tensorrt_llm", "engines": ["fp16"]}
    resolve(scenario(**ours, deployments={"a": bounded | {"replicas": {"servers": 2}}}))
    resolve(scenario(**ours, deployments={"a": bounded}, hot_reload=RELOAD, load=OPEN_LOOP, gpu=EXCLUSIVE))
    resolve(scenario(**ours | {"engines": ["fp8", "bf16", "int8"]}, deployments={"a": {"kv_cache": {"dtype": "auto"}}}))


def test_an_encoders_plan_is_not_reloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PROVIDERS["tensorrt"], "unavailable", lambda: None)
    monkeypatch.setattr(PROVIDERS["tensorrt"], "refusal", lambda spec: None)
    asked = load_scenario(packaged_data.SCENARIOS / "hot-reload-encoder.yaml", ["provider=tensorrt"])
    with pytest.raises(ScenarioError, match="a TensorRT plan is not reloaded here; use provider openvino"):
        resolve(asked)


def test_an_engine_that_a_reload_changes_to_is_checked_before_any_is_built() -> None:
    reload = {"reloads": [{"kind": "new_version", "to": "fp8"}]}
    with pytest.raises(EngineError, match="OpenVINO engines are fp16 or int8, not fp8"):
        resolve(scenario(hot_reload=reload, load=OPEN_LOOP))


def test_an_adopted_engine_says_itself_what_it_cannot(tmp_path: Path) -> None:
    facts = {"num_hidden_layers": 30, "num_key_value_heads": 3, "head_size": 64, "vocab_size": 49152}
    engine = write_engine(tmp_path / "e", kv_block_tokens=64, paged_context_fmha=False, model=facts)
    more = {"provider": "auto", "build": {"engine_dir": str(engine)}}
    with pytest.raises(ScenarioError, match=r"chunked_prefill is true, but not available under the engine in .*/e, built without paged"):
        resolve(scenario(**more))
    found = resolve(scenario(**more, deployments={"a": {"scheduler": {"chunked_prefill": False}}}))
    assert found.budgets["a"].block_tokens == 64


def test_no_triton(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def absent() -> None:
        raise InstallationError("no tritonserver")

    monkeypatch.setattr(resolved, "find_tritonserver", absent)
    with pytest.raises(InstallationError):
        check_machine(resolve(scenario()), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_directory_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ScenarioError, match=r"file/runs cannot be written to \(Not a directory\): choose another"):
        check_writable(tmp_path / "file" / "runs")
    with pytest.raises(ScenarioError, match=r"/proc/runs cannot be written to"):
        check_writable(Path("/proc/runs"))


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=100 << 20))
    with pytest.raises(ScenarioError, match="has 100 MiB free, a run needs 512"):
        check_writable(tmp_path)


def test_a_directory_is_made_and_left_empty(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_traces_are_read_before_anything_is_spent(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_text(
        '{"timestamp": 0, "input_length": 9, "output_length": 9}\n{"timestamp": 5, "input_length": 8000, "output_length": 193}\n'
    )
    trace = {"mode": "trace", "trace": str(path)}
    resolve(scenario(load=[trace | {"requests": 1}]))
    with pytest.raises(ScenarioError, match=r"stage trace-x1 replays a request of 8193 tokens from .*, the model has 8192 positions"):
        resolve(scenario(load=[trace]))
    with pytest.raises(UserError, match=r"none\.jsonl cannot be read"):
        resolve(scenario(load=[trace | {"trace": "none.jsonl"}]))


def test_more_users_than_a_worker_may_open_connections_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("resource.getrlimit", lambda which: (256, 256))
    check_open_files(parse_scenario({"name": "x", "load": [{"concurrency": 100, "requests": 100}]}, "test"))
    wide = {"name": "x", "load": [{"concurrency": 1000, "requests": 1000}]}
    with pytest.raises(ScenarioError, match=r"1000 users need 1064 open files.*limit is 256.*ulimit -n 1064"):
        check_open_files(parse_scenario(wide, "test"))
    check_open_files(parse_scenario(wide | {"client": {"workers": 10}}, "test"))
    check_open_files(parse_scenario(wide | {"client": {"streams_per_connection": 8}}, "test"))
