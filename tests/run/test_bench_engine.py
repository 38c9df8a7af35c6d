"""`trtbench bench --engine-dir`: what the server is said to serve, in the run directory and the report. No server: nothing is sent."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.support.engines.engine_directory import write_engine
from trtbench.analysis.summary import summarise
from trtbench.client.kserve.encoder import EncoderTensors
from trtbench.client.kserve.target import KserveTarget
from trtbench.engine.build import PROVIDERS
from trtbench.load.tally import LoadProgress
from trtbench.report.kit.words import Words
from trtbench.report.sections.deployment_tables import target as target_section
from trtbench.run import experiment_run
from trtbench.run.execute import serve_and_bench
from trtbench.run.resolve.resolved_endpoint import ResolvedEndpoint
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.lines import read_json
from trtbench.scenario.deployment.running_endpoint import RunningEndpoint
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.scenario import Scenario

pytestmark = pytest.mark.whole_run

TARGET = KserveTarget(
    url="127.0.0.1:1",
    model="tensorrt_llm",
    version="",
    max_batch_size=64,
    triton_version="2.60.0",
    inputs=frozenset({"input_ids"}),
    outputs=frozenset({"output_ids"}),
)


ENDPOINT = RunningEndpoint(urls=("127.0.0.1:1",), vocab_size=1000)


def asked(**keys: Any) -> Scenario:
    return Scenario(**{"name": "n", "endpoint": ENDPOINT, "load": (Stage(concurrency=1, requests=1),), **keys})


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setattr(experiment_run, "load_server", lambda *arguments: ("completed", None))

    def make(directory: Path | None) -> RunDirectory:
        monkeypatch.setattr(ResolvedEndpoint, "inspect", lambda endpoint: TARGET)
        scenario = asked(model="tensorrt_llm", endpoint=ENDPOINT.model_copy(update={"engine_dir": directory}))
        return serve_and_bench(scenario, tmp_path / "runs", [], lambda event: None, LoadProgress()).run

    return make


def test_the_claim_is_in_the_report_and_called_one(run: Any, tmp_path: Path) -> None:
    directory = write_engine(tmp_path / "e", algorithm="W8A16", kv_algorithm="INT8", kv_block_tokens=64, paged_context_fmha=False)
    made = run(directory)
    (deployment,) = made.deployments()
    facts = read_json(deployment.path / "deployment.json")
    # 2 x layers x kv_heads x head_dim x 1 byte
    assert (facts["kv_dtype"], facts["kv_block_tokens"], facts["kv_bytes_per_token"]) == ("int8", 64, 2 * 2 * 2 * 16)
    assert facts["traits"] == PROVIDERS["tensorrt_llm"].traits.as_json()
    summary = summarise(made)
    (result,) = summary.deployments
    assert (result.facts.mode, result.facts.dtype, result.facts.provider, result.facts.engine_build_s) == (
        "external",
        "int8",
        "tensorrt_llm",
        None,
    )
    shown = str(target_section(summary, Words("en")))
    assert "INT8 by tensorrt_llm" in shown
    assert "built in -" in shown
    assert "neither KV reuse nor chunked prefill" in shown
    assert "trtbench did not check that the server serves it" in shown


def test_what_an_encoders_fixed_shape_does_not_take_is_said_before_there_is_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = replace(TARGET, encoder=EncoderTensors({"input_ids": "INT32"}, "embedding", "FP32", 4, ragged=False, pad_tokens=16))
    monkeypatch.setattr(ResolvedEndpoint, "inspect", lambda endpoint: target)
    with pytest.raises(ScenarioError, match="takes 16: lower --isl"):
        serve_and_bench(asked(task="embed", model="bert"), tmp_path, [], lambda event: None, LoadProgress())
    assert not list(tmp_path.iterdir())


def test_without_a_claim_nothing_is_said(run: Any) -> None:
    made = run(None)
    assert "not known (external server)" in str(target_section(summarise(made), Words("en")))
