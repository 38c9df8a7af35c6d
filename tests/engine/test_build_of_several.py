"""The engines of a scenario, by the fake provider."""

from __future__ import annotations

from pathlib import Path

import pytest
from engine.fake_provider import FakeProvider

from trtbench.engine.spec import EngineError
from trtbench.records import Event
from trtbench.run import build
from trtbench.scenario import Scenario, Stage


def test_what_the_second_engine_lacks_is_told_before_the_first_is_built(
    fake_provider: FakeProvider, checkpoint: Path, tmp_path: Path
) -> None:
    scenario = Scenario(name="n", model=str(checkpoint), engines=("fp16", "int8-sq"), load=(Stage(concurrency=1, requests=1),))
    fake_provider.lacks = {"int8-sq": "ModelOpt is not installed"}
    with pytest.raises(EngineError, match=r"cannot build .* int8-sq: ModelOpt is not installed"):
        build(scenario, scenario.dtypes, tmp_path / "built", lambda event: None)
    assert fake_provider.builds == 0
    fake_provider.lacks = {}
    build(scenario, scenario.dtypes, tmp_path / "built", lambda event: None)
    fake_provider.lacks = {"int8-sq": "not asked of an engine that is in the cache"}
    heard: list[Event] = []
    found = build(scenario, scenario.dtypes, tmp_path / "built", heard.append)
    assert list(found) == ["fp16", "int8-sq"]
    assert [(event.kind, event.data["dtype"], event.data["cached"]) for event in heard] == [
        ("engine_built", "fp16", True),
        ("engine_built", "int8-sq", True),
    ]
