"""Fixtures of engines that cost nothing to build."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.support.engines.fake_provider import FakeProvider
from trtbench.engine import build

CONFIG = {
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "hidden_size": 64,
    "max_position_embeddings": 512,
    "vocab_size": 1000,
    "eos_token_id": 7,
}


@pytest.fixture
def fake_provider(monkeypatch: pytest.MonkeyPatch) -> FakeProvider:
    """The only provider there is."""
    provider = FakeProvider()
    monkeypatch.setattr(build, "PROVIDERS", {"fake": provider})
    return provider


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """A directory that looks like a whole Hugging Face checkpoint."""
    path = tmp_path / "checkpoint"
    path.mkdir()
    (path / "config.json").write_text(json.dumps(CONFIG))
    (path / "tokenizer.json").write_text("{}")
    (path / "model.safetensors").write_bytes(b"weights")
    return path
