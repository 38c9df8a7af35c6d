"""`trtbench build` on a GPU: FP16 and INT8 of a tiny checkpoint, and what the finished engines are."""

from __future__ import annotations

import shutil

import pytest

from tests.on_gpu.nodes import BUILD, FLAGS, Node
from tests.on_gpu.tiny import LAYERS
from trtbench.engine.checkpoint_files import parameter_count
from trtbench.engine.spec import EngineSpec
from trtbench.engine.tensorrt_llm.engine import differences, read_engine
from trtbench.engine.tensorrt_llm.provider import examples

pytestmark = pytest.mark.timeout(120)


@pytest.mark.parametrize(("dtype", "weights"), [("fp16", "fp16"), ("int8", "int8")])
def test_an_engine_is_built_and_is_what_was_asked(node: Node, dtype: str, weights: str) -> None:
    engine = node.build(dtype)
    assert (engine.provider, engine.dtype, engine.weights_dtype, engine.kv_dtype) == ("tensorrt_llm", dtype, weights, "fp16")
    assert engine.options["limits"].items() >= BUILD.items()
    assert engine.model_facts.layers == LAYERS
    assert engine.options["route"] == "llm_api"
    assert all(step.seconds > 0 for step in engine.build_steps) and engine.build_steps
    spec = EngineSpec(model=str(node.checkpoint), dtype=dtype, provider="tensorrt_llm", build=BUILD)
    version = engine.provider_versions["tensorrt_llm"]
    assert differences(read_engine(engine.path), spec, engine.model_facts, parameter_count(node.checkpoint), version) == []
    assert {"tokenizer.json", "tokenizer_config.json", "build.log"} <= {path.name for path in engine.path.iterdir()}


def test_two_steps_by_the_programs_build_it_too(node: Node) -> None:
    """convert_checkpoint.py or quantize.py, then trtllm-build: the way of every engine of several ranks."""
    if node.real and not (examples() and shutil.which("trtllm-build")):
        pytest.skip("trtllm-build or TensorRT-LLM's examples are not here (TRTLLM_EXAMPLES)")
    engine = node.build("int8", "--route", "trtllm_build")
    assert (engine.options["route"], engine.options["quant_algo"]) == ("trtllm_build", "W8A16")
    assert "build engines, total" in [step["label"] for step in engine.options["log_steps"]]  # its log is read as it is written


def test_it_comes_from_the_cache_the_second_time(node: Node) -> None:
    node.build()
    assert "from the cache: nothing was built" in node.built(*FLAGS).stdout
