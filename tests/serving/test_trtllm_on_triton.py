"""The real Triton reads what we write for TensorRT-LLM's models: it checks tensors, ensemble steps and batchers of a repository it loads.

The backend itself needs a GPU; in its place stands a Python model that does nothing.
"""

from __future__ import annotations

import json
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from tests.conftest import SMALL
from tests.support.command import ran
from tests.support.engines.trtllm_engines import engine_of, write_engine, write_templates
from trtbench.analysis.summary import summarise
from trtbench.cli.main import main
from trtbench.engine.spec import Engine
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.records import Outcome
from trtbench.scenario.deployment.deployment import Deployment, DynamicBatching, QueuePolicy
from trtbench.scenario.deployment.tensorrt_llm import BackendParameters, LlmApi, TensorRtLlm
from trtbench.scenario.parts.choices import Dtype
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository.model_repository import RenderedModel
from trtbench.serving.repository.renderers import render
from trtbench.serving.server.autopsy import fault_while_running
from trtbench.serving.server.installation import TritonInstallation
from trtbench.serving.server.server import TritonServer

COMPLETES = """
import os
import yaml


class TritonPythonModel:
    @classmethod
    def auto_complete_config(cls, config):
        with open(os.path.join(os.path.dirname(__file__), "model.yaml")) as file:
            asked = yaml.safe_load(file)["triton_config"]
        config.set_model_transaction_policy({"decoupled": asked["decoupled"]})
        config.set_max_batch_size(asked["max_batch_size"])
        return config

    def execute(self, requests):
        return None
"""
IDLE = "class TritonPythonModel:\n    def execute(self, requests):\n        return None\n"


def on_python(model: RenderedModel, code: Path) -> RenderedModel:
    return replace(model, config=model.config.replace('backend: "tensorrtllm"', 'backend: "python"'), source=code)


@pytest.mark.triton
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("version", "family"), [("1.2.1", "ensemble"), ("1.2.1", "bls")])
def test_triton_loads_the_family(installation: TritonInstallation, tmp_path: Path, version: str, family: Any) -> None:
    templates = write_templates(tmp_path / "templates", IDLE)
    settings = TensorRtLlm(family=family, template_dir=str(templates), parameters=BackendParameters(stats_check_period_ms=10))
    batching = DynamicBatching(preferred_batch_sizes=(4, 8), max_queue_delay_us=500, queue_policy=QueuePolicy(max_queue_size=77))
    repository = render(
        write_engine(tmp_path / "engine", version), Deployment(tensorrt_llm=settings, dynamic_batching=batching), Workload()
    )
    idle = templates / "tensorrt_llm" / "1"
    others = tuple(on_python(model, idle) if model.name == "tensorrt_llm" else model for model in repository.others)
    root = replace(repository, others=others).write(tmp_path / "models")
    with TritonServer(installation, root, tmp_path / "server.log", repository.server_flags) as server:
        assert fault_while_running(server.log) is None  # whatever Triton says of the GPU that is not there
        for model in (repository.model_name, *(other.name for other in others)):
            with urllib.request.urlopen(f"http://{server.endpoints.http}/v2/models/{model}/config", timeout=5) as reply:
                config = json.load(reply)
            assert config["max_batch_size"] == 8
            if model == "tensorrt_llm":
                assert config["parameters"]["stats_check_period_ms"] == {"string_value": "10"}
                assert config["dynamic_batching"]["default_queue_policy"]["max_queue_size"] == 77
                assert config["model_transaction_policy"] == {"decoupled": True}


@pytest.mark.triton
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("flags", "streams"), [((), True), (("--disable-auto-complete-config",), False)])
def test_the_llm_apis_model_completes_its_own_config(
    installation: TritonInstallation, tmp_path: Path, flags: tuple[str, ...], streams: bool
) -> None:
    """A model that reads model.yaml as NVIDIA's does: with the flag of the other repositories it could not stream."""
    settings = LlmApi(template_dir=str(write_templates(tmp_path / "llmapi", COMPLETES)), launch="direct")
    repository = render(engine_of(tmp_path / "checkpoint", "llmapi", "1.2.1"), Deployment(llmapi=settings), Workload())
    root = repository.write(tmp_path / "models")
    with (
        TritonServer(installation, root, tmp_path / "server.log", (*repository.server_flags, *flags)) as server,
        urllib.request.urlopen(f"http://{server.endpoints.http}/v2/models/tensorrt_llm/config", timeout=5) as reply,
    ):
        config = json.load(reply)
    assert (config.get("model_transaction_policy", {}).get("decoupled", False), config["max_batch_size"]) == (streams, 0)


@pytest.mark.triton
@pytest.mark.timeout(120)
@pytest.mark.parametrize("version", ["1.2.1"])
def test_the_client_speaks_the_tensors_of_the_backend(
    installation: TritonInstallation, engines: dict[Dtype, Engine], tmp_path: Path, version: str
) -> None:
    """Our CPU model behind the interface of `tensorrt_llm`: Triton checks names, types and shapes of what the client sends."""
    cpu = render(engines["int8"], SMALL, Workload())
    its_parameters = cpu.config[cpu.config.index("parameters {") :]
    backend = render(write_engine(tmp_path / "engine", version), Deployment(max_batch_size=8), Workload())
    config = backend.config.replace('backend: "tensorrtllm"', 'backend: "python"') + its_parameters
    root = replace(backend, config=config, source=cpu.source).write(tmp_path / "models")
    with TritonServer(installation, root, tmp_path / "server.log", backend.server_flags) as server:
        command = ["bench", "--url", server.endpoints.grpc, "--model", "tensorrt_llm", "--tokenizer", str(engines["int8"].path)]
        flags = ["--artifact-dir", str(tmp_path / "runs"), "--max-concurrency", "2", "--num-prompts", "4", "--isl", "8", "--osl", "48"]
        flags += ["--metrics-url", f"http://{server.endpoints.metrics}/metrics"]
        done = CliRunner().invoke(main, [*command, *flags])
    assert ran(done.exit_code, tmp_path), done.output
    (run,) = (tmp_path / "runs").iterdir()
    (deployment,) = RunDirectory.open(run).deployments()
    records = deployment.requests()
    assert [(record.outcome, record.output_tokens) for record in records] == [(Outcome.COMPLETED, 48)] * 4
    assert all(record.server for record in records)  # the backend's own instants, asked for and returned
    assert all(record.server.arrival_ns <= record.server.first_scheduled_ns <= record.server.first_token_ns for record in records)
    summary = summarise(RunDirectory.open(run))
    [result] = summary.deployments
    assert result.facts.tokens == {"family": "ids", "token_counts": "ids", "input_counts": "ids", "forces_length": True}
    (stage,) = result.stages
    assert stage.inflight and not stage.inflight.exact, "as of the backend, from sampled gauges alone"
    assert stage.kv_cache and stage.kv_cache.used_ratio_peak and result.stale_pages, "whose gauges of an idle engine were left out"
    assert result.missing_metrics == () and result.kv_used_blocks and result.stages[0].latency.server_prefill_ns.count == 4
    told = deployment.samples().series("engine_output_tokens")[1]
    assert told[-1] == 4 * 48, "the server counted the tokens that the client did"
