"""Each check is asked once: for a dry run, and for a run up to its first server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.engines.fake_provider import FakeProvider
from trtbench.cli import dry_run as dry_run_module
from trtbench.engine.build import PROVIDERS
from trtbench.engine.spec import Engine, EngineError
from trtbench.plan.sources.prompt_source import CorpusPrompts, UniformPrompts
from trtbench.run import prepare as prepare_module
from trtbench.run.prepare import build_engines, prepare
from trtbench.run.resolve import resolved as resolved_module
from trtbench.run.resolve.resolved import spec_of, specs_of
from trtbench.rundir.records import Event
from trtbench.scenario.deployment.deployment import Deployment, Scheduler
from trtbench.scenario.load.stage import Stage
from trtbench.scenario.reading import parse_scenario
from trtbench.scenario.scenario import Scenario
from trtbench.serving.repository import renderers
from trtbench.serving.repository.model_repository import RenderedRepository, kv_budget
from trtbench.serving.repository.renderer import Renderer
from trtbench.serving.repository.renderers import RENDERERS
from trtbench.serving.server.installation import TritonInstallation


class Calls:
    """Counts the calls of functions that it replaces."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.counts: dict[str, int] = {}

    def count(self, place: Any, name: str) -> None:
        self._monkeypatch.setattr(place, name, self.counted(name, getattr(place, name)))

    def counted(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        self.counts[name] = 0

        def call(*arguments: Any, **more: Any) -> Any:
            self.counts[name] += 1
            return function(*arguments, **more)

        return call


def rendered(engine: Engine, deployment: Deployment, workload: object) -> RenderedRepository:
    return RenderedRepository("fake", f"max_batch_size: {deployment.max_batch_size}\n", engine.path, None)


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch, fake_provider: FakeProvider, tmp_path: Path) -> Calls:
    calls = Calls(monkeypatch)
    monkeypatch.setitem(RENDERERS, "fake", Renderer(kv_budget, calls.counted("repository", rendered)))
    installation = TritonInstallation("PATH", tmp_path / "tritonserver", tmp_path / "backends")
    monkeypatch.setattr(resolved_module, "find_tritonserver", lambda: installation)
    monkeypatch.setattr(CorpusPrompts, "of_engine", lambda *arguments: UniformPrompts(1000))
    monkeypatch.setattr(resolved_module, "named_devices", lambda scenario: ({0: "GPU-0", 1: "GPU-1"}, ""))
    for name in ("named_devices", "provider_of", "check_spec", "model_facts", "find_tritonserver", "preview"):
        calls.count(resolved_module, name)
    calls.count(fake_provider, "refusal")
    calls.count(fake_provider, "unavailable")
    return calls


def scenario(checkpoint: Path, **more: Any) -> Scenario:
    """Two deployments of three precisions, one of which only a reload changes to."""
    tree = {
        "name": "counted",
        "model": str(checkpoint),
        "engines": ["fp16", "int8"],
        "deployments": {"a": {}, "b": {"max_batch_size": 4}},
        "load": [{"mode": "poisson", "rate": 1, "duration_s": 60}],
        "hot_reload": {"reloads": [{"kind": "new_version", "to": "bf16"}]},
    }
    return parse_scenario(tree | more, "counted")


def test_a_dry_run_asks_each_check_once(calls: Calls, checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    dry_run_module.dry_run(scenario(checkpoint))
    once = ("named_devices", "provider_of", "model_facts", "preview", "unavailable")
    assert {name: calls.counts[name] for name in once} == dict.fromkeys(once, 1)
    assert calls.counts["check_spec"] == calls.counts["refusal"] == 3  # precisions
    assert calls.counts["repository"] == calls.counts["find_tritonserver"] == 0
    assert "runs: a-fp16, a-int8, b-fp16, b-int8" in capsys.readouterr().out


def test_the_preparation_of_a_run_asks_each_check_once(calls: Calls, checkpoint: Path, tmp_path: Path) -> None:
    prepared = prepare(scenario(checkpoint), tmp_path / "runs", tmp_path / "built", lambda event: None)
    once = ("named_devices", "provider_of", "model_facts", "find_tritonserver", "unavailable")
    assert {name: calls.counts[name] for name in once} == dict.fromkeys(once, 1)
    assert calls.counts["check_spec"] == calls.counts["refusal"] == 3  # precisions
    assert calls.counts["repository"] == len(prepared.repositories) == 6  # deployments times precisions
    assert calls.counts["preview"] == 0


def test_what_the_run_needs_of_the_reloads_is_rendered_before_it_begins(calls: Calls, checkpoint: Path, tmp_path: Path) -> None:
    prepared = prepare(scenario(checkpoint), tmp_path / "runs", tmp_path / "built", lambda event: None)
    assert list(prepared.repositories) == [f"{name}-{dtype}" for dtype in ("fp16", "int8", "bf16") for name in ("a", "b")]
    assert all("version_policy" in one.config for one in prepared.repositories.values())
    assert [name for _, name in prepared.order] == ["a", "a", "b", "b"]


def test_the_wrapped_functions_are_the_ones_in_use() -> None:
    """A rename would leave a counter at zero."""
    assert vars(prepare_module)["render"] is renderers.render
    assert vars(prepare_module)["resolve"] is resolved_module.resolve


def test_what_the_second_engine_lacks_is_reported_before_the_first_is_built(
    fake_provider: FakeProvider, checkpoint: Path, tmp_path: Path
) -> None:
    scenario = Scenario(name="n", model=str(checkpoint), engines=("fp16", "int8-sq"), load=(Stage(concurrency=1, requests=1),))
    specs = specs_of(scenario, fake_provider)
    fake_provider.lacks = {"int8-sq": "ModelOpt is not installed"}
    with pytest.raises(EngineError, match=r"cannot build .* int8-sq: ModelOpt is not installed"):
        build_engines(specs, fake_provider, tmp_path / "built", lambda event: None)
    assert fake_provider.builds == 0
    fake_provider.lacks = {}
    build_engines(specs, fake_provider, tmp_path / "built", lambda event: None)
    fake_provider.lacks = {"int8-sq": "not asked of an engine that is in the cache"}
    heard: list[Event] = []
    found = build_engines(specs, fake_provider, tmp_path / "built", heard.append)
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
    found = build_engines(specs_of(parse_scenario(tree, "n"), PROVIDERS["tensorrt_llm"]), fake_provider, tmp_path / "built", heard.append)
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
