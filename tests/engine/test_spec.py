from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trtbench.engine.spec import BuildLog, Engine, EngineError, ModelFacts


@given(st.integers(1, 200), st.integers(1, 128), st.integers(1, 512))
def test_kv_bytes_per_token_is_its_formula(layers: int, kv_heads: int, head_dim: int) -> None:
    facts = ModelFacts(layers, kv_heads, head_dim, 1, 1, 1)
    assert facts.kv_bytes_per_token("fp16") == 2 * layers * kv_heads * head_dim * 2
    assert facts.kv_bytes_per_token("int8") * 2 == facts.kv_bytes_per_token("fp16")


def test_the_demos_kv_bytes_per_token() -> None:
    assert ModelFacts(30, 3, 64, 8192, 49152, 2).kv_bytes_per_token("fp16") == 23_040


def test_a_kv_cache_that_cannot_be_counted_is_reported() -> None:
    """ModelOpt's NVFP4: half a byte, and scales beside it."""
    with pytest.raises(EngineError, match="a KV cache in nvfp4: only fp32, fp16, bf16, int8, fp8 can be counted"):
        ModelFacts(30, 3, 64, 8192, 49152, 2).kv_bytes_per_token("nvfp4")


def test_steps_are_reported_at_their_start_and_kept_with_their_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    instants_ns = iter((0, 1_500_000_000, 2_000_000_000, 2_250_000_000))
    monkeypatch.setattr("trtbench.engine.spec.now_ns", lambda: next(instants_ns))
    told: list[str] = []
    log = BuildLog(told.append)
    with log.step("one"):
        assert (told, log.steps) == (["one"], [])
    with log.step("two"):
        pass
    assert told == ["one", "two"]
    assert [(step.label, step.seconds) for step in log.steps] == [("one", 1.5), ("two", 0.25)]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"build_steps": [], "model_facts": {}}', '{"build_steps": 3}'])
def test_what_is_no_engine_directory(tmp_path: Path, text: str) -> None:
    (tmp_path / "engine.json").write_text(text)
    with pytest.raises(EngineError, match=r"is not an engine directory \(engine\.json: .*trtbench build"):
        Engine.load(tmp_path)


def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="is not an engine directory"):
        Engine.load(tmp_path / "none")
