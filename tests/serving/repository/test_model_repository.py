from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import model_config_pb2

from trtbench.engine.spec import Engine, ModelFacts
from trtbench.scenario.deployment.deployment import Deployment, DynamicBatching, KvCache, QueuePolicy, Scheduler
from trtbench.scenario.parts.part import ScenarioError
from trtbench.scenario.workload.lengths import Range
from trtbench.scenario.workload.workload import Workload
from trtbench.serving.repository import renderers
from trtbench.serving.repository.model_repository import default_inference_threads, kv_budget, pbtxt_string, render
from trtbench.system import packaged_data

FACTS = ModelFacts(layers=30, kv_heads=3, head_dim=64, max_positions=8192, vocabulary_tokens=49152, eos_token_id=2)
ENGINE = Engine(
    path=Path('/engines/a "quoted" path\\with\nall'),
    model="demo",
    dtype="int8",
    provider="openvino",
    provider_versions={},
    model_facts=FACTS,
    weights_dtype="int8",
    kv_block_tokens=32,
    checkpoint_sha256="",
    options={},
    sha256="",
    size_bytes=0,
    build_steps=(),
    built_utc="",
)


def parse(deployment: Deployment) -> Any:
    """The rendered config as Triton reads it; ParseError when it is not protobuf text."""
    return text_format.Parse(render(ENGINE, deployment, Workload()).config, model_config_pb2.ModelConfig())


def parameters(config: Any) -> dict[str, str]:
    return {key: value.string_value for key, value in config.parameters.items()}


def test_a_full_deployment_field_by_field() -> None:
    deployment = Deployment(
        max_batch_size=16,
        dynamic_batching=DynamicBatching(
            preferred_batch_sizes=(4, 8, 16),
            max_queue_delay_us=5000,
            preserve_ordering=False,
            priority_levels=3,
            default_priority_level=2,
            queue_policy=QueuePolicy(max_queue_size=100, timeout_us=2_000_000, timeout_action="delay"),
        ),
        instances=2,
        kv_cache=KvCache(blocks=77, dtype="int8", prefix_caching=True),
        scheduler=Scheduler(max_sequences=12, max_tokens_per_step=99, chunked_prefill=False),
        inference_threads=5,
    )
    config = parse(deployment)
    batching, policy = config.dynamic_batching, config.dynamic_batching.default_queue_policy
    assert (config.name, config.backend, config.max_batch_size) == ("demo", "python", 16)
    assert config.model_transaction_policy.decoupled
    assert list(batching.preferred_batch_size) == [4, 8, 16]
    assert batching.max_queue_delay_microseconds == 5000
    assert not batching.preserve_ordering
    assert (batching.priority_levels, batching.default_priority_level) == (3, 2)
    assert policy.timeout_action == model_config_pb2.ModelQueuePolicy.DELAY
    assert (policy.default_timeout_microseconds, policy.max_queue_size) == (2_000_000, 100)
    assert [(group.count, group.kind) for group in config.instance_group] == [(2, model_config_pb2.ModelInstanceGroup.KIND_CPU)]
    assert parameters(config) == {
        "engine_dir": str(ENGINE.path),
        "kv_blocks": "77",
        "kv_dtype": "int8",
        "block_tokens": "32",
        "prefix_caching": "true",
        "max_sequences": "12",
        "max_tokens_per_step": "99",
        "chunked_prefill": "false",
        "inference_threads": "5",
        "max_positions": "8192",
        "vocabulary_tokens": "49152",
        "eos_token_id": "2",
    }


def test_the_defaults() -> None:
    config = parse(Deployment())
    assert not config.dynamic_batching.preferred_batch_size
    assert config.HasField("dynamic_batching")
    assert config.dynamic_batching.default_queue_policy.timeout_action == model_config_pb2.ModelQueuePolicy.REJECT
    assert parameters(config)["inference_threads"] == str(default_inference_threads())
    assert parameters(config)["kv_blocks"] == str(-(-(128 + 32) // 32) * 32)  # each of the 32 sequences its longest request
    assert parameters(config)["kv_dtype"] == "fp16"


def test_no_batcher_where_it_is_off() -> None:
    config = parse(Deployment(max_batch_size=1, dynamic_batching=None))
    assert not config.HasField("dynamic_batching")
    assert config.max_batch_size == 1


def test_tensors_are_those_of_tensorrt_llm() -> None:
    config = parse(Deployment())
    inputs = {tensor.name: tensor for tensor in config.input}
    outputs = {tensor.name: list(tensor.dims) for tensor in config.output}
    assert list(inputs["input_ids"].dims) == [-1]
    assert inputs["input_ids"].allow_ragged_batch
    assert inputs["seed"].data_type == model_config_pb2.TYPE_UINT64
    assert {"output_ids": [-1, -1], "sequence_length": [-1]}.items() <= outputs.items()
    assert {"arrival_time_ns", "first_scheduled_time_ns", "first_token_time_ns", "last_token_time_ns"} <= set(outputs)
    assert all(tensor.optional for tensor in config.input)


deployments = st.builds(
    Deployment,
    max_batch_size=st.integers(8, 64),
    dynamic_batching=st.none()
    | st.builds(
        DynamicBatching,
        preferred_batch_sizes=st.lists(st.integers(1, 8), max_size=4, unique=True).map(tuple),
        max_queue_delay_us=st.integers(0, 10**7),
        preserve_ordering=st.booleans(),
        queue_policy=st.builds(
            QueuePolicy,
            max_queue_size=st.integers(0, 10**6),
            timeout_us=st.integers(0, 10**9),
            timeout_action=st.sampled_from(["reject", "delay"]),
        ),
    ),
    instances=st.integers(1, 4),
    kv_cache=st.builds(KvCache, blocks=st.none() | st.integers(5, 10**6), prefix_caching=st.booleans()),
    scheduler=st.builds(Scheduler, max_sequences=st.integers(1, 512), chunked_prefill=st.booleans()),
)


@given(deployments)
def test_every_deployment_renders_to_what_it_says(deployment: Deployment) -> None:
    config = parse(deployment)
    assert config.max_batch_size == deployment.max_batch_size
    assert config.HasField("dynamic_batching") == (deployment.dynamic_batching is not None)
    if deployment.dynamic_batching:
        batching = deployment.dynamic_batching
        assert tuple(config.dynamic_batching.preferred_batch_size) == batching.preferred_batch_sizes
        assert config.dynamic_batching.max_queue_delay_microseconds == batching.max_queue_delay_us
        assert config.dynamic_batching.preserve_ordering == batching.preserve_ordering
        assert config.dynamic_batching.default_queue_policy.max_queue_size == batching.queue_policy.max_queue_size
    assert parameters(config)["prefix_caching"] == str(deployment.kv_cache.prefix_caching).lower()
    assert parameters(config)["engine_dir"] == str(ENGINE.path)


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_pbtxt_strings_come_back_as_they_were(text: str) -> None:
    parameter = text_format.Parse(f'string_value: "{pbtxt_string(text)}"', model_config_pb2.ModelParameter())
    assert parameter.string_value == text


def test_the_written_repository_is_complete_and_leaves_no_cache(tmp_path: Path) -> None:
    repository = render(ENGINE, Deployment(), Workload())
    root = repository.write(tmp_path / "model_repository")
    assert {path.name for path in root.iterdir()} == {"demo"}
    assert (root / "demo" / "config.pbtxt").read_text(encoding="utf-8") == repository.config
    shipped = {path.name for path in (packaged_data.MODEL_REPO / "openvino" / "1").glob("*.py")}
    assert {path.name for path in (root / "demo" / "1").iterdir()} == shipped | {"__pycache__"}
    assert (root / "demo" / "1" / "__pycache__").is_file()  # where bytecode would change what a server polls
    assert "model.py" in shipped


def budget(kv_cache: KvCache, workload: Workload) -> int:
    return kv_budget(FACTS, 32, Deployment(kv_cache=kv_cache), workload).blocks


def test_bytes_become_whole_blocks() -> None:
    """30 layers x 3 heads x 64 x 2 (keys, values) x 2 bytes = 23 040 bytes a token."""
    block = 32 * 23_040
    assert budget(KvCache(bytes=10 * block), Workload()) == 10
    assert budget(KvCache(bytes=11 * block - 1), Workload()) == 10
    assert budget(KvCache(bytes=5 * block, dtype="int8"), Workload()) == 10
    assert kv_budget(FACTS, 32, Deployment(kv_cache=KvCache(blocks=10)), Workload()).bytes == 10 * block


@given(st.integers(1, 4000), st.integers(1, 4000), st.integers(1, 300))
def test_a_budget_under_one_request_is_refused(input_tokens: int, output_tokens: int, blocks: int) -> None:
    workload = Workload(input_tokens=Range(min=1, max=input_tokens), output_tokens=output_tokens)
    if blocks * 32 < input_tokens + output_tokens:
        with pytest.raises(ScenarioError, match=r"kv_cache\.blocks to at least"):
            budget(KvCache(blocks=blocks), workload)
    else:
        assert budget(KvCache(blocks=blocks), workload) == blocks


def test_a_workload_over_the_positions_is_refused() -> None:
    assert budget(KvCache(), Workload(input_tokens=8000, output_tokens=192)) == 256 * 32
    with pytest.raises(ScenarioError, match=r"workload\.input_tokens \+ workload\.output_tokens = 8193 is over the model's 8192"):
        budget(KvCache(), Workload(input_tokens=8000, output_tokens=193))


def test_the_longest_request_has_its_prefix_and_its_sessions_turns() -> None:
    """1000 of the prefix, 4 messages of 100, 3 answers and the last of 50: 1600 tokens, 50 blocks, for 32 sequences."""
    session = {"input_tokens": 100, "output_tokens": 50, "prefix": {"tokens": 1000}, "sessions": {"turns": {"min": 1, "max": 4}}}
    assert budget(KvCache(), Workload.model_validate(session)) == 50 * 32
    with pytest.raises(ScenarioError, match="is over the model's 8192 positions: shorten one of them, or what comes on top"):
        budget(KvCache(), Workload.model_validate(session | {"sessions": {"turns": 50}}))


def test_a_kv_type_that_the_cpu_lacks_is_refused() -> None:
    with pytest.raises(ScenarioError, match=r"kv_cache\.dtype = 'fp8'"):
        budget(KvCache(dtype="fp8"), Workload())


ENCODER = replace(
    ENGINE,
    model="encoder",
    kv_block_tokens=0,
    model_facts=ModelFacts.of_encoder(layers=6, head_dim=32, max_positions=512, vocabulary_tokens=30522, embedding_values=384),
)


def test_an_encoder_field_by_field(tmp_path: Path) -> None:
    batching = DynamicBatching(preferred_batch_sizes=(4,), max_queue_delay_us=700)
    repository = render(ENCODER, Deployment(max_batch_size=4, dynamic_batching=batching, instances=3, inference_threads=2), Workload())
    config = text_format.Parse(repository.config, model_config_pb2.ModelConfig())
    (ids,), (embedding,) = config.input, config.output
    assert (config.name, config.backend, config.max_batch_size) == ("encoder", "python", 4)
    assert not config.model_transaction_policy.decoupled
    assert (list(config.dynamic_batching.preferred_batch_size), config.dynamic_batching.max_queue_delay_microseconds) == ([4], 700)
    assert [group.count for group in config.instance_group] == [3]
    assert (ids.name, ids.data_type, list(ids.dims), ids.allow_ragged_batch) == ("input_ids", model_config_pb2.TYPE_INT32, [-1], True)
    assert (embedding.name, embedding.data_type, list(embedding.dims)) == ("embedding", model_config_pb2.TYPE_FP32, [384])
    assert parameters(config) == {
        "engine_dir": str(ENCODER.path),
        "inference_threads": "2",
        "max_positions": "512",
        "vocabulary_tokens": "30522",
        "embedding_values": "384",
    }
    assert repository.kv is None
    files = {path.name for path in (repository.write(tmp_path) / "encoder" / "1").iterdir()}
    assert files == {
        "model.py",
        "encoder.py",
        "token_counters.py",
        "metrics.py",
        "processor.py",
        "tensors.py",
        "__pycache__",
    }  # the last: no bytecode


def test_an_encoders_output_takes_no_position() -> None:
    """512 positions hold 512 tokens of input, whatever a workload's output_tokens are by default."""
    render(ENCODER, Deployment(), Workload(input_tokens=Range(min=512, max=512)))
    with pytest.raises(ScenarioError, match=r"workload\.input_tokens = 513 is over the model's 512 positions"):
        render(ENCODER, Deployment(), Workload(input_tokens=Range(min=3, max=513)))


def test_each_length_class_is_a_model_of_the_same_engine(tmp_path: Path) -> None:
    classes = {"short": {"upto_input_tokens": 64, "max_batch_size": 2, "max_sequences": 2}, "long": {}}
    deployment = Deployment.model_validate({"instances": 2, "batching": {"classes": classes}})
    rendered = renderers.render(ENGINE, deployment, Workload())
    assert rendered.models_of_classes == {"short": "demo-short", "long": "demo-long"}
    rendered.write(tmp_path)
    configs = {
        path.parent.name: text_format.Parse(path.read_text(), model_config_pb2.ModelConfig()) for path in tmp_path.glob("*/config.pbtxt")
    }
    assert {name: (config.name, config.max_batch_size) for name, config in configs.items()} == {
        "demo-short": ("demo-short", 2),
        "demo-long": ("demo-long", 8),
    }
    kv = renderers.render(ENGINE, Deployment(instances=2), Workload()).kv
    assert rendered.kv == kv and kv is not None
    assert {parameters(config)["kv_blocks"] for config in configs.values()} == {str(kv.blocks)}
    assert [parameters(configs[name])["max_sequences"] for name in ("demo-short", "demo-long")] == ["2", "32"]
    assert {config.instance_group[0].count for config in configs.values()} == {1}
