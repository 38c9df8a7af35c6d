from __future__ import annotations

from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from trtbench.scenario.deployment.build_options import BuildOptions
from trtbench.scenario.scenario import Scenario


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ({"max_input_len": 513, "max_seq_len": 512}, "max_input_len (513) goes over max_seq_len (512)"),
        ({"kv_block_tokens": 48}, "kv_block_tokens (48) is not a power of two"),
        ({"plugins": {"gem_plugin": "auto"}}, "plugins.gem_plugin: no such plugin"),
        ({"plugins": {"gemm_plugin": "int4"}}, "plugins.gemm_plugin = 'int4': give one of auto"),
        ({"plugins": {"tokens_per_block": "64"}}, "set kv_block_tokens"),
        ({"plugins": {"use_paged_context_fmha": "enable"}}, "set paged_context_fmha"),
        ({"plugins": {"context_fmha": "disable"}, "paged_context_fmha": True}, "paged_context_fmha needs plugins.context_fmha"),
        ({"plugins": {"remove_input_padding": "disable"}}, "plugins.remove_input_padding = disable: such an engine has no in-flight"),
        ({"plugins": {"gpt_attention_plugin": "disable"}}, "plugins.gpt_attention_plugin = disable: such an engine has no in-flight"),
        ({"plugins": {"gemm_swiglu_plugin": "fp8", "use_fused_mlp": "disable"}}, "needs plugins.use_fused_mlp, which is disable"),
        ({"kv_dtype": "int8", "paged_context_fmha": True}, "no KV reuse, no chunked prefill"),
        ({"kv_dtype": "fp8", "dummy_weights": True}, "dummy_weights has nothing to calibrate on"),
        ({"engine_dir": "e", "dummy_weights": True}, "drop one of them"),
        ({"max_batchsize": 3}, "Extra inputs"),
        ({"tp": 0}, "must be a"),
        ({"kv_dtype": "fp16"}, "'auto', 'int8' or 'fp8'"),
    ],
)
def test_what_does_not_go_together_is_named(keys: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        BuildOptions.model_validate(keys)
    assert says in str(caught.value)


def test_what_was_asked_and_what_of_it_changes_the_engine() -> None:
    options = BuildOptions(max_batch_size=8, workers=2, tp=2, plugins={"gemm_plugin": "auto"})
    assert options.asked == {"max_batch_size": 8, "workers": 2, "tp": 2, "plugins": {"gemm_plugin": "auto"}}
    assert options.content == {"max_batch_size": 8, "tp": 2, "plugins": {"gemm_plugin": "auto"}}
    assert BuildOptions.model_validate(options.asked) == options
    assert BuildOptions().asked == {}


def test_a_scenario_carries_them_and_its_effective_form_asks_for_the_same() -> None:
    build = {"kv_dtype": "int8", "max_batch_size": 64}
    made = Scenario.model_validate({"name": "n", "load": [{"concurrency": 1, "requests": 1}], "engines": ["int8-sq"], "build": build})
    assert made.build.asked == build
    assert Scenario.model_validate(yaml.safe_load(made.dump())).build.asked == build


def test_one_engine_dir_is_one_engine() -> None:
    with pytest.raises(ValidationError, match=r"build\.engine_dir is one engine, engines are fp16, int8"):
        Scenario.model_validate(
            {"name": "n", "load": [{"concurrency": 1, "requests": 1}], "engines": ["fp16", "int8"], "build": {"engine_dir": "e"}}
        )
