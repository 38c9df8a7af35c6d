"""TensorRT-LLM's parts of a deployment: what does not hold by itself is refused, with the key and the remedy."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from trtbench.scenario.deployment.deployment import Deployment
from trtbench.scenario.deployment.tensorrt_llm import BackendParameters
from trtbench.scenario.reading import parse_scenario


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"kv_cache_free_gpu_mem_fraction": 1.1}, "must be a"),
        ({"kv_cache_free_gpu_mem_fraction": 0}, "must be a"),
        ({"batch_scheduler_policy": "fastest"}, "'guaranteed_no_evict' or 'max_utilization'"),
        ({"enable_kv_cache_reuse": True}, "Extra inputs are not permitted"),
        ({"max_num_sequences": 4}, "Extra inputs are not permitted"),
        ({"lookahead_window_size": 4}, "lookahead_window_size is read in decoding_mode lookahead only, which is None"),
        ({"decoding_mode": "lookahead", "lookahead_window_size": 4}, "lookahead_window_size without the others"),
        ({"decoding_mode": "eagle", "medusa_choices": [[0]]}, "medusa_choices is read in decoding_mode medusa only, which is eagle"),
        ({"cuda_graph_cache_size": 4}, "cuda_graph_cache_size = 4 needs cuda_graph_mode"),
        ({"gpu_device_ids": [0, 0]}, "name a GPU twice"),
        ({"stats_check_period_ms": 0}, "must be a"),
    ],
)
def test_what_does_not_hold_is_refused(parameters: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        BackendParameters.model_validate(parameters)
    assert said in str(refused.value)


def test_one_kv_budget() -> None:
    asked = {"kv_cache": {"blocks": 9}, "tensorrt_llm": {"parameters": {"max_tokens_in_paged_kv_cache": 99}}}
    with pytest.raises(ValidationError, match=r"max_tokens_in_paged_kv_cache = 99 is a KV budget in addition to kv_cache\.blocks"):
        Deployment.model_validate(asked)


def test_the_effective_scenario_loads_to_the_same() -> None:
    parts = {
        "tensorrt_llm": {"family": "bls", "parameters": {"decoding_mode": "medusa", "medusa_choices": [[0], [0, 1]]}},
        "llmapi": {"options": {"enable_attention_dp": True}},
    }
    scenario = parse_scenario({"name": "x", "load": [{"concurrency": 1, "requests": 1}], "deployments": {"a": parts}}, "here")
    assert parse_scenario(yaml.safe_load(scenario.dump()), "there") == scenario
