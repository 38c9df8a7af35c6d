"""`trtbench serve-and-bench` with vLLM as the server, end to end; and what is refused before it starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from trtbench.analysis.summary import summarise
from trtbench.engine.build import PROVIDERS
from trtbench.load.tally import LoadProgress
from trtbench.run.execute import serve_and_bench
from trtbench.run.resolve.resolved import resolve
from trtbench.rundir.records import Outcome
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.reading import parse_scenario

MINI: dict[str, Any] = {
    "name": "mini",
    "engines": ["bf16"],
    "provider": "vllm",
    "deployments": {"http": {"server": "vllm", "kv_cache": {"blocks": 24}, "scheduler": {"max_sequences": 4}, "inference_threads": 1}},
    "workload": {"input_tokens": 40, "output_tokens": 12},
    "load": [{"mode": "concurrency", "concurrency": 3, "requests": 24, "warmup_requests": 3}],
}


@pytest.mark.vllm
@pytest.mark.skipif(PROVIDERS["vllm"].unavailable() is not None, reason=str(PROVIDERS["vllm"].unavailable()))
def test_a_run_on_vllm_is_recorded_and_measured_as_one_on_triton(tmp_path: Path) -> None:
    scenario = parse_scenario(MINI, "mini")
    outcome = serve_and_bench(scenario, tmp_path / "runs", [], lambda event: None, LoadProgress(), tmp_path / "engines")
    assert outcome.lost == () and outcome.interrupted_by is None
    (directory,) = outcome.run.deployments()
    records = directory.requests()
    assert [record.outcome for record in records] == [Outcome.COMPLETED] * 27
    assert all(sum(record.token_counts) == 12 for record in records), "one event a token, counted by its ids"
    facts = directory.deployment()
    assert (facts.provider, facts.kv_blocks, facts.triton_version) == ("vllm", 24, None)
    assert str(facts.server_name).startswith("vLLM 0.")

    (result,) = summarise(outcome.run).deployments
    (stage,) = result.stages
    assert (result.missing_metrics, result.tokens_beyond_ours, result.kv_blocks_left) == ((), 0, 0)
    assert stage.kv_cache is not None and stage.kv_cache.blocks_max == 24 and stage.kv_cache.used_ratio_peak >= 2 / 24
    assert stage.inflight is not None and stage.inflight.running.max == 3
    assert stage.engine_times is not None and stage.engine_times.requests == 24
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
        resolve(parse_scenario({**MINI, "provider": "openvino", "engines": ["fp16"], **change}, "mini"))
    assert says in str(raised.value)
