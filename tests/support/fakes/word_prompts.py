"""A prompt source for tests of datasets: a fake tokenizer, in which each word is a token."""

from __future__ import annotations

import numpy as np

from trtbench.plan.sources.prompt_source import TokenIds, UniformPrompts

VOCABULARY_TOKENS = 1000


class FakeWordPrompts(UniformPrompts):
    """A word's id is the number it is, as in `w17`."""

    def __init__(self) -> None:
        super().__init__(VOCABULARY_TOKENS)

    def encode(self, text: str) -> TokenIds:
        return np.array([int(word.removeprefix("w")) for word in text.split()], np.int32)


def words(count: int, first: int = 1) -> str:
    """So many words, from w<first> on."""
    return " ".join(f"w{number}" for number in range(first, first + count))
