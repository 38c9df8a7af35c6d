"""The documented run on Triton and vLLM, end to end, and what is refused before vLLM starts."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import pytest

from tests.test_docs import WITH_VLLM, trtbench, with_built_engines
from trtbench.analysis.summary import summarise
from trtbench.engine.build import PROVIDERS
from trtbench.run.resolve.resolved import resolve
from trtbench.rundir.directory import RunDirectory
from trtbench.rundir.records import Outcome
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario

SHORT = [
    *("--set=deployments.vllm-http.kv_cache={blocks: 24}", "--set=workload.input_tokens=40", "--set=workload.output_tokens=12"),
    *("--set=load.0.requests=1", "--set=load.0.warmup_requests=0"),
    *("--set=load.1.concurrency=3", "--set=load.1.requests=18", "--set=load.1.warmup_requests=3"),
]
HTTP: dict[str, Any] = {
    "name": "mini",
    "engines": ["fp16"],
    "provider": "openvino",
    "deployments": {"http": {"server": "vllm"}},
    "load": [{"concurrency": 1, "requests": 1}],
}


@pytest.mark.vllm
@pytest.mark.skipif(PROVIDERS["vllm"].unavailable() is not None, reason=str(PROVIDERS["vllm"].unavailable()))
@pytest.mark.usefixtures("engines")
@pytest.mark.parametrize("command", WITH_VLLM)
def test_a_run_on_vllm_is_recorded_and_measured_as_one_on_triton(command: str, tmp_path: Path) -> None:
    with_built_engines(tmp_path)
    assert trtbench(*shlex.split(command)[1:], *SHORT, cwd=tmp_path)
    (path,) = (tmp_path / "runs").iterdir()
    run = RunDirectory.open(path)
    (directory,) = (one for one in run.deployments() if one.deployment().provider == "vllm")
    records = directory.requests()
    assert [record.outcome for record in records] == [Outcome.COMPLETED] * (1 + 18 + 3)
    assert all(sum(record.token_counts) == 12 for record in records), "one event a token, counted by its ids"
    facts = directory.deployment()
    assert (facts.provider, facts.kv_blocks, facts.triton_version) == ("vllm", 24, None)
    assert str(facts.server_name).startswith("vLLM 0.")

    (result,) = (one for one in summarise(run).deployments if one.name == directory.name)
    stage = result.stages[-1]
    assert (result.missing_metrics, result.tokens_beyond_ours, result.kv_blocks_left) == ((), 0, 0)
    assert stage.kv_cache is not None and stage.kv_cache.blocks_max == 24 and stage.kv_cache.used_ratio_peak >= 2 / 24
    assert stage.inflight is not None and stage.inflight.running.max == 3
    assert stage.engine_times is not None and stage.engine_times.requests == 18
    parts = stage.waterfall
    assert parts is not None and parts.prefill_ns and parts.decode_ns
    assert 0 < parts.rest_ns < parts.total_ns, "the engine's times are within the latency"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"engines": ["int8"]}, "deployments.http.server = 'vllm': vLLM is given checkpoints without quantisation"),
        ({"deployments": {"http": {"server": "vllm", "instances": 2}}}, "deployments.http: instances = 2: a vLLM server has one engine"),
    ],
)
def test_what_vllm_cannot_serve_is_refused_before_anything_is_started(
    change: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(PROVIDERS["vllm"]), "unavailable", lambda self: None)
    monkeypatch.setattr(type(PROVIDERS["openvino"]), "unavailable", lambda self: None)
    with pytest.raises(ScenarioError) as raised:
        resolve(parse_scenario(HTTP | change, "mini"))
    assert says in str(raised.value)
