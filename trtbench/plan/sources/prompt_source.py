"""Sources of prompts: the bundled corpus in an engine's own tokens, or random token ids if there is no tokenizer."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from trtbench.errors import UserError
from trtbench.tasks.generate import GENERATE
from trtbench.tasks.registry import TASKS
from trtbench.tasks.task import TaskName

TokenIds = npt.NDArray[np.int32]
"""Shape [tokens]."""

TOKENIZER_JSON = "tokenizer.json"
_NOTHING: TokenIds = np.zeros(0, np.int32)
_MOST_UNKNOWN_RATIO = 0.05  # a prompt with more unknown tokens is not text any more


class WorkloadError(UserError):
    """Prompts cannot be made; the message names the file and the remedy."""


class PromptSource(Protocol):
    @property
    def vocabulary_tokens(self) -> int:
        """The size of the vocabulary; every token id is below it."""

    def draw(self, tokens: int, random: np.random.Generator) -> TokenIds:
        """A prompt of exactly `tokens` token ids."""

    def encode(self, text: str) -> TokenIds:
        """A text in the model's tokens, without special tokens except those around the input of an encoder.

        WorkloadError without a tokenizer."""

    def decode(self, ids: TokenIds) -> str:
        """The text of token ids without special ones; WorkloadError without a tokenizer."""


class CorpusPrompts:
    """Prompts on various topics: paragraphs of the corpus in a random order, the first from a random token on, cut to length."""

    def __init__(self, paragraphs: Sequence[TokenIds], tokenizer: Tokenizer, framed: bool = False) -> None:
        """`paragraphs` are the corpus in the tokenizer's ids, each of shape [tokens of the paragraph].

        `framed`: prompts begin and end with the tokens that the tokenizer adds ([CLS], [SEP]), which count as tokens of the prompt.
        """
        self._paragraphs = list(paragraphs)
        self._tokenizer = tokenizer
        self._before, self._after = _frame(tokenizer) if framed else (_NOTHING, _NOTHING)

    @classmethod
    def of_engine(cls, directory: Path, languages: Sequence[str], task: TaskName = GENERATE.name) -> CorpusPrompts:
        """The corpus in the tokens of an engine directory's tokenizer.json; WorkloadError if it is missing or cannot encode the corpus."""
        path = directory / TOKENIZER_JSON
        if not path.is_file():
            raise WorkloadError(
                f"{path}: no such file; give a directory with a {TOKENIZER_JSON}, of an engine or a downloaded checkpoint "
                "(names such as gpt2 are not looked up), or leave the tokenizer out to draw random ids"
            )
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception
            raise WorkloadError(
                f"{path} is not a tokenizer of the `tokenizers` library ({error}); give the directory of one, as a checkpoint has it"
            ) from error
        tokenizer.no_truncation()  # a checkpoint may have saved truncation and padding, which would change every text
        tokenizer.no_padding()
        texts = [paragraph + "\n" for paragraph in read_corpus(languages)]
        ids = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
        _check_spelling(tokenizer, ids, path)
        return cls([np.array(paragraph, np.int32) for paragraph in ids], tokenizer, framed=TASKS[task].frames_prompts)

    @property
    def vocabulary_tokens(self) -> int:
        tokens: int = self._tokenizer.get_vocab_size()
        return tokens

    def encode(self, text: str) -> TokenIds:
        ids = np.array(self._tokenizer.encode(text, add_special_tokens=False).ids, np.int32)
        return np.concatenate([self._before, ids, self._after])

    def decode(self, ids: TokenIds) -> str:
        text: str = self._tokenizer.decode(ids.tolist())
        return text

    def draw(self, tokens: int, random: np.random.Generator) -> TokenIds:
        of_frame = len(self._before) + len(self._after)
        if not of_frame:
            return self._draw(tokens, random)
        if tokens <= of_frame:
            raise WorkloadError(f"workload.input_tokens: a prompt of {tokens} tokens has no text, the tokenizer adds {of_frame}: raise it")
        return np.concatenate([self._before, self._draw(tokens - of_frame, random), self._after])

    def _draw(self, tokens: int, random: np.random.Generator) -> TokenIds:
        first = self._paragraphs[random.integers(len(self._paragraphs))]
        parts = [first[random.integers(len(first)) :]]
        have_tokens = len(parts[0])
        while have_tokens < tokens:
            parts.append(self._paragraphs[random.integers(len(self._paragraphs))])
            have_tokens += len(parts[-1])
        return np.concatenate(parts)[:tokens]


class UniformPrompts:
    """Ids drawn uniformly from a vocabulary, for a server whose tokenizer is not available."""

    def __init__(self, vocabulary_tokens: int) -> None:
        self.vocabulary_tokens = vocabulary_tokens

    def draw(self, tokens: int, random: np.random.Generator) -> TokenIds:
        return random.integers(self.vocabulary_tokens, size=tokens, dtype=np.int32)

    def encode(self, text: str) -> TokenIds:
        raise WorkloadError(
            f"a text ({text[:40]!r} ...) needs the model's tokenizer: name its directory with --tokenizer, or give a dataset of input_ids"
        )

    def decode(self, ids: TokenIds) -> str:
        raise WorkloadError("the model takes text, and text needs its tokenizer: name its directory with --tokenizer")


def read_corpus(languages: Sequence[str]) -> list[str]:
    """The bundled paragraphs of `languages`, in file order."""
    folder = resources.files("trtbench.plan.sources") / "corpus"
    lines = [line for language in languages for line in (folder / f"{language}.txt").read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _frame(tokenizer: Tokenizer) -> tuple[TokenIds, TokenIds]:
    """The special tokens that the tokenizer adds before and after a text."""
    encoded = tokenizer.encode("a", add_special_tokens=True)
    ids, special = np.array(encoded.ids, np.int32), np.array(encoded.special_tokens_mask, bool)
    text = np.flatnonzero(~special)
    return (ids[: text[0]], ids[text[-1] + 1 :]) if len(text) else (_NOTHING, _NOTHING)


def _check_spelling(tokenizer: Tokenizer, paragraphs: Sequence[Sequence[int]], path: Path) -> None:
    """WorkloadError if the tokenizer turns too much of the corpus into its unknown token, as a wrongly converted one does with spaces or
    whole languages; the model would then read noise."""
    unknown_token = getattr(tokenizer.model, "unk_token", None)
    unknown_id = tokenizer.token_to_id(unknown_token) if unknown_token else None
    total = sum(len(ids) for ids in paragraphs)
    unknown = sum(list(ids).count(unknown_id) for ids in paragraphs) if unknown_id is not None else 0
    if not total or unknown / total > _MOST_UNKNOWN_RATIO:
        raise WorkloadError(
            f"{path} cannot encode the prompts: {unknown} of {total} tokens are its unknown token {unknown_token!r}; "
            "convert the checkpoint's tokenizer again, or choose workload.languages that it knows"
        )
