"""The engines of a scenario, by the fake provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.fake_provider import FakeProvider
from trtbench.engine.build import PROVIDERS
from trtbench.engine.spec import EngineError
from trtbench.run.resolve.engines import build, spec_of, specs_of
from trtbench.rundir.records import Event
from trtbench.scenario.deployment.deployment import Deployment, Scheduler
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario


def test_what_the_second_engine_lacks_is_told_before_the_first_is_built(
    fake_provider: FakeProvider, checkpoint: Path, tmp_path: Path
) -> None:
    scenario = Scenario(name="n", model=str(checkpoint), engines=("fp16", "int8-sq"), load=(Stage(concurrency=1, requests=1),))
    specs = specs_of(scenario, fake_provider)
    fake_provider.lacks = {"int8-sq": "ModelOpt is not installed"}
    with pytest.raises(EngineError, match=r"cannot build .* int8-sq: ModelOpt is not installed"):
        build(specs, fake_provider, tmp_path / "built", lambda event: None)
    assert fake_provider.builds == 0
    fake_provider.lacks = {}
    build(specs, fake_provider, tmp_path / "built", lambda event: None)
    fake_provider.lacks = {"int8-sq": "not asked of an engine that is in the cache"}
    heard: list[Event] = []
    found = build(specs, fake_provider, tmp_path / "built", heard.append)
    assert list(found) == ["default-fp16", "default-int8-sq"]
    assert [(event.kind, event.data["dtype"], event.data["cached"]) for event in heard] == [
        ("engine_built", "fp16", True),
        ("engine_built", "int8-sq", True),
    ]


def test_deployments_of_equal_limits_share_an_engine_that_is_built_once(
    fake_provider: FakeProvider, checkpoint: Path, tmp_path: Path
) -> None:
    """On TensorRT-LLM a scheduler's limits are an engine's: one for each pair of them, whatever the cell and the round."""
    schedulers = {"a": (4, 64), "b": (8, 64), "c": (4, 64)}
    deployments = {name: {"scheduler": {"max_sequences": s, "max_tokens_per_step": t}} for name, (s, t) in schedulers.items()}
    tree = {"name": "n", "model": str(checkpoint), "deployments": deployments, "load": [{"concurrency": 1, "requests": 1}]}
    heard: list[Event] = []
    found = build(specs_of(parse_scenario(tree, "n"), PROVIDERS["tensorrt_llm"]), fake_provider, tmp_path / "built", heard.append)
    assert fake_provider.builds == 2
    assert found["a-fp16"].sha256 == found["c-fp16"].sha256 != found["b-fp16"].sha256
    assert [event.kind for event in heard if event.kind == "engine_built"] == ["engine_built"] * 2


@pytest.mark.parametrize(
    ("provider", "build_options", "limits"),
    [
        ("tensorrt_llm", {}, (4, 64)),
        ("tensorrt_llm", {"max_batch_size": 16}, (16, 64)),
        ("tensorrt_llm", {"max_num_tokens": 512}, (4, 512)),
        ("tensorrt_llm", {"engine_dir": "finished"}, (None, None)),
        ("llmapi", {}, (None, None)),
        ("openvino", {}, (None, None)),
    ],
)
def test_an_engines_limits_are_the_schedulers_where_the_build_leaves_them_open(
    provider: str, build_options: dict[str, Any], limits: tuple[int | None, int | None]
) -> None:
    tree = {"name": "n", "build": build_options, "load": [{"concurrency": 1, "requests": 1}]}
    deployment = Deployment(scheduler=Scheduler(max_sequences=4, max_tokens_per_step=64))
    found = spec_of(parse_scenario(tree, "n"), PROVIDERS[provider], deployment, "fp16").build
    assert (found.max_batch_size, found.max_num_tokens) == limits
