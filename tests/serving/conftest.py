from __future__ import annotations

import pytest
from tokenizers import Tokenizer

from tests.support.triton.kserve import Serving

TEXTS = (
    "The capital of France is Paris, and the capital of Japan is",
    "def fibonacci(n):\n    if n < 2:\n        return n\n    return",
    "Once upon a time there was a small dragon who lived near a lake. Every morning the dragon",
    "Water boils at 100 degrees at sea level. On a high mountain the air pressure is lower, so water",
)


@pytest.fixture(scope="session")
def tokenizer(int8_server: Serving) -> Tokenizer:
    return Tokenizer.from_file(str(int8_server.engine.path / "tokenizer.json"))


@pytest.fixture(scope="session")
def prompts(tokenizer: Tokenizer) -> list[list[int]]:
    """Real sentences: their continuations are varied, so that a token out of place shows."""
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
