"""Models of text around an engine, and the LLM API's PyTorch backend: served by NVIDIA's own Python models, from prompt to tokens."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.on_gpu.nodes import KV_BLOCKS, Node
from trtbench.analysis.summary import summarise
from trtbench.rundir.lines import read_json
from trtbench.rundir.records import Outcome

pytestmark = pytest.mark.timeout(120)

WORKLOAD = {"input_tokens": {"min": 16, "max": 64}, "output_tokens": 16, "languages": ["en"]}
LOAD = [{"concurrency": 4, "requests": 24, "warmup_requests": 2}]
ALL = {(False, Outcome.COMPLETED): 24, (True, Outcome.COMPLETED): 2}


@pytest.mark.parametrize("family", ["ensemble", "bls"])
def test_text_in_text_out_and_tokens_counted(node: Node, family: str) -> None:
    node.needs_triton("tensorrtllm")
    node.needs_templates("inflight_batcher_llm")
    served = {"kv_cache": {"blocks": KV_BLOCKS}, "tensorrt_llm": node.settings(family=family)}
    run = node.run({"name": family, "engines": ["fp16"], "deployments": {"a": served}, "workload": WORKLOAD, "load": LOAD})
    (deployment,) = run.deployments()
    records = deployment.requests()
    assert Counter((record.warmup, record.outcome) for record in records) == ALL
    if node.real:  # the stand-in's words are no tokens
        assert {record.output_tokens for record in records} == {16}
        assert not any(reason.code == "tokens_differ" for reason in summarise(run).verdict.reasons)


def test_a_checkpoint_by_the_llm_api(node: Node) -> None:
    node.needs_triton("python")
    node.needs_templates("llmapi")
    served = {"llmapi": node.settings(free_gpu_memory_fraction=0.3)}
    asked = {"name": "llmapi", "provider": "llmapi", "build": {}, "engines": ["fp16"], "deployments": {"a": served}}
    run = node.run(asked | {"workload": WORKLOAD, "load": LOAD})
    (deployment,) = run.deployments()
    records = deployment.requests()
    assert Counter((record.warmup, record.outcome) for record in records) == ALL
    assert read_json(deployment.path / "deployment.json")["tokens"]
