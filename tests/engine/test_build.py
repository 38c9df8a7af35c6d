from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from multiprocessing.connection import wait
from pathlib import Path
from typing import get_args

import pytest

from tests.engine import child_builds
from tests.engine.child_builds import SPAWN, FakeHanging, FakeTogether
from tests.support.engines.fake_provider import FakeProvider
from trtbench.engine import build
from trtbench.engine.build import PROVIDERS, build_engine, choose_provider, load_spec, provider_of
from trtbench.engine.spec import BuildJob, BuildLog, BuiltFacts, Engine, EngineError, EngineSpec
from trtbench.scenario.parts.choices import Dtype, ProviderName
from trtbench.serving.repository.renderers import RENDERERS
from trtbench.system import packaged_data
from trtbench.system.leftovers import owner

pytestmark = pytest.mark.timeout(60)


def quiet() -> BuildLog:
    return BuildLog(lambda step: None)


def make(checkpoint: Path, output: Path, dtype: Dtype = "fp16") -> build.Built:
    return build_engine(EngineSpec(model=str(checkpoint), dtype=dtype), output, quiet())


def test_builds_once_and_then_finds_it(fake_provider: FakeProvider, checkpoint: Path, tmp_path: Path) -> None:
    first, again = (make(checkpoint, tmp_path / "built") for _ in range(2))
    assert (first.cached, again.cached) == (False, True)
    assert fake_provider.builds == 1
    assert again.engine == first.engine
    assert [path.name for path in (tmp_path / "built").iterdir()] == [f"checkpoint-fp16-fake-{first.engine.sha256[:12]}"]


def test_the_hash_is_of_the_content(fake_provider: FakeProvider, checkpoint: Path, tmp_path: Path) -> None:
    hashes = [make(checkpoint, tmp_path).engine.sha256, make(checkpoint, tmp_path, "int8").engine.sha256]
    fake_provider.fake_versions = {"fake": "1.1"}
    hashes.append(make(checkpoint, tmp_path).engine.sha256)
    for name in ("model.safetensors", "tokenizer.json", "config.json"):
        (checkpoint / name).write_bytes((checkpoint / name).read_bytes() + b" ")
        hashes.append(make(checkpoint, tmp_path).engine.sha256)
    assert len(set(hashes)) == len(hashes) == fake_provider.builds
    (checkpoint / "README.md").write_text("not read by any build")
    assert make(checkpoint, tmp_path).cached


@pytest.mark.process
def test_only_some_providers_build_encoders(monkeypatch: pytest.MonkeyPatch) -> None:
    for provider in PROVIDERS.values():
        monkeypatch.setattr(type(provider), "unavailable", lambda self: None)
    assert provider_of(EngineSpec(model="minilm-l6-v2")).name == "tensorrt"
    assert provider_of(EngineSpec(model="smollm2-135m")).name == "tensorrt_llm"
    with pytest.raises(
        EngineError, match=r"provider tensorrt_llm builds no encoders: choose tensorrt or openvino, or serve it yourself for"
    ):
        provider_of(EngineSpec(model="minilm-l6-v2", provider="tensorrt_llm"))


def test_engine_json_is_complete(fake_provider: FakeProvider, checkpoint: Path, tmp_path: Path) -> None:
    engine = make(checkpoint, tmp_path, "int8").engine
    facts = json.loads((engine.path / "engine.json").read_text())
    assert facts["model_facts"] == {
        "layers": 2, "kv_heads": 2, "head_dim": 16, "max_positions": 512, "vocabulary_tokens": 1000, "eos_token_id": 7,
        "task": "generate", "embedding_values": 0, "image_shape": [], "labels": 0,
    }  # fmt: skip
    assert (facts["model"], facts["dtype"], facts["weights_dtype"], facts["provider"]) == ("checkpoint", "int8", "int8", "fake")
    assert facts["provider_versions"] == {"fake": "1.0"}
    assert facts["kv_block_tokens"] == 16
    assert facts["size_bytes"] == 100  # the tokenizer is not counted
    assert [step["label"] for step in facts["build_steps"]] == ["fake export"]
    assert len(facts["sha256"]) == len(facts["checkpoint_sha256"]) == 64
    assert Engine.load(engine.path) == engine


def test_an_interrupted_build_leaves_nothing(fake_provider: FakeProvider, checkpoint: Path, tmp_path: Path) -> None:
    def interrupted(job: BuildJob, log: BuildLog) -> BuiltFacts:
        (job.output / "half").touch()
        raise KeyboardInterrupt

    fake_provider.build = interrupted
    with pytest.raises(KeyboardInterrupt):
        make(checkpoint, tmp_path / "built")
    assert not list((tmp_path / "built").iterdir())


def test_a_failed_build_leaves_nothing(fake_provider: FakeProvider, checkpoint: Path, tmp_path: Path) -> None:
    def failing(job: BuildJob, log: BuildLog) -> BuiltFacts:
        with log.step("half"):
            (job.output / "half").touch()
            raise EngineError("no more memory")

    fake_provider.build = failing
    with pytest.raises(EngineError, match="no more memory"):
        make(checkpoint, tmp_path / "built")
    assert not list((tmp_path / "built").iterdir())


@pytest.mark.process
def test_a_killed_build_leaves_no_engine_and_the_next_one_sweeps(fake_provider: FakeProvider, checkpoint: Path, tmp_path: Path) -> None:
    reached, output = SPAWN.Event(), tmp_path / "built"
    child = SPAWN.Process(target=child_builds.make, args=(FakeHanging, reached, checkpoint, output))
    child.start()
    assert reached.wait(30)
    other = make(checkpoint, output, "int8").engine  # a build beside it leaves the living one's files alone
    assert len(list(output.iterdir())) == 2
    os.kill(child.pid or 0, signal.SIGKILL)
    child.join()
    assert {path.name for path in output.iterdir() if not path.name.startswith(".building-")} == {other.path.name}
    engine = make(checkpoint, output).engine
    assert {path.name for path in output.iterdir()} == {other.path.name, engine.path.name}


def test_a_leftover_of_our_own_process_id_is_swept_too(fake_provider: FakeProvider, checkpoint: Path, tmp_path: Path) -> None:
    """In a container each run is often process 1."""
    name, machine = make(checkpoint, tmp_path / "elsewhere").engine.path.name, owner().split("-")[0]
    (tmp_path / "built" / f".building-{machine}-{os.getpid()}-1-{name}").mkdir(parents=True)
    engine = make(checkpoint, tmp_path / "built").engine
    assert [path.name for path in (tmp_path / "built").iterdir()] == [engine.path.name]


@pytest.mark.process
def test_two_builds_of_one_engine_at_once_both_end_well(checkpoint: Path, tmp_path: Path) -> None:
    shared = (FakeTogether, SPAWN.Barrier(2), checkpoint, tmp_path / "built")
    children = [SPAWN.Process(target=child_builds.make, args=shared, daemon=True) for _ in range(2)]
    for child in children:
        child.start()
    wait([child.sentinel for child in children])
    if any(child.exitcode for child in children):
        shared[1].abort()  # the other one would wait for it
    for child in children:
        child.join()
    assert [child.exitcode for child in children] == [0, 0]
    (path,) = (tmp_path / "built").iterdir()
    assert Engine.load(path).size_bytes == 100


def test_an_unreadable_engine_in_the_cache_names_the_remedy(fake_provider: FakeProvider, checkpoint: Path, tmp_path: Path) -> None:
    engine = make(checkpoint, tmp_path / "built").engine
    (engine.path / "engine.json").unlink()
    with pytest.raises(EngineError, match=r"is not an engine directory .*trtbench build"):
        make(checkpoint, tmp_path / "built")


def test_auto_takes_the_first_that_can(monkeypatch: pytest.MonkeyPatch, fake_provider: FakeProvider) -> None:
    second = FakeProvider()
    monkeypatch.setattr(build, "PROVIDERS", {"first": fake_provider, "second": second})
    assert choose_provider("auto") is fake_provider
    fake_provider.reason = "no driver"
    assert choose_provider("auto") is second
    second.reason, second.name = "not installed", "second"
    with pytest.raises(EngineError, match="provider fake cannot run here: no driver\nprovider second cannot run here: not installed"):
        choose_provider("auto")


@pytest.mark.parametrize("name", ["tensorrt_llm", "llmapi"])
def test_the_gpu_providers_say_why_not_in_one_sentence(name: str) -> None:
    reason = build.PROVIDERS[name].unavailable()
    assert reason is not None
    assert "\n" not in reason
    assert ";" in reason or "," in reason  # cause, then remedy
    with pytest.raises(EngineError, match=f"^provider {name} cannot run here: "):
        choose_provider(name)  # type: ignore[arg-type]


def test_auto_tries_the_gpu_first() -> None:
    assert list(build.PROVIDERS) == ["tensorrt_llm", "llmapi", "tensorrt", "openvino", "vllm"]


def test_the_names_of_providers_are_those_of_the_registries() -> None:
    assert {"auto", *build.PROVIDERS} == set(get_args(ProviderName))
    assert set(RENDERERS) == set(build.PROVIDERS)
    assert {name: provider.name for name, provider in build.PROVIDERS.items()} == {name: name for name in build.PROVIDERS}


def test_a_spec_by_file_by_shipped_name_or_by_model(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model: /some/where\ndtype: int8\n")
    assert load_spec(str(path)) == EngineSpec(model="/some/where", dtype="int8", provider="auto")
    for shipped in packaged_data.ENGINES.glob("*.yaml"):
        assert load_spec(shipped.stem) == load_spec(str(shipped))
    assert load_spec("smollm2-135m") == EngineSpec(model="smollm2-135m")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: x\ndtype: fp4\n", "dtype"),
        ("model: x\ntype: fp16\n", "type"),
        ("dtype: fp16\n", "model"),
        ("- model\n", "mapping"),
        ("model: [\n", "expected (the )?node content"),
        ("", "is empty"),
        ("model: x\nmodel: y\n", "model"),
        ("model: x\ntp: true\n", "tp"),
    ],
)
def test_a_bad_spec_names_the_file_and_the_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(EngineError, match=rf"engine spec .*bad\.yaml:.*{message}"):
        load_spec(str(path))


def test_a_spec_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match=r"engine spec .*none\.yaml cannot be read"):
        load_spec(str(tmp_path / "none.yaml"))
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(EngineError, match="not UTF-8"):
        load_spec(str(tmp_path / "binary.yaml"))


@pytest.mark.process
def test_the_command_prints_what_was_built(engines: dict[Dtype, Engine]) -> None:
    """From the cache, in a process of its own: quick, and the real path."""
    root = engines["int8"].path.parents[2]
    command = [sys.executable, "-m", "trtbench.cli.main", "build", "smollm2-135m-int8", "--provider", "openvino"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root, timeout=50)
    assert done.returncode == 0, done.stderr
    assert str(engines["int8"].path) in done.stdout
    assert engines["int8"].sha256 in done.stdout
    assert "from the cache" in done.stdout
