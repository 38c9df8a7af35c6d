from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from trtbench.plan.sources.prompt_source import CorpusPrompts, UniformPrompts, WorkloadError, read_corpus


@pytest.fixture(scope="module")
def engine_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine directory with a small real tokenizer: byte-level BPE, which also puts <bos> before a text when asked."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=800, special_tokens=["<bos>"], initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(read_corpus(["en"]), trainer)
    tokenizer.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 0)])
    directory = tmp_path_factory.mktemp("engine")
    tokenizer.save(str(directory / "tokenizer.json"))
    return directory


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_corpus_has_paragraphs_enough_and_none_twice(language: str) -> None:
    paragraphs = read_corpus([language])
    assert len(paragraphs) >= 60
    assert len(set(paragraphs)) == len(paragraphs)
    assert all(len(paragraph) > 40 for paragraph in paragraphs)


@pytest.mark.parametrize("tokens", [1, 2, 17, 128, 1000, 8192])
def test_prompts_have_exactly_the_asked_length(engine_directory: Path, tokens: int) -> None:
    prompts = CorpusPrompts.of_engine(engine_directory, ["en", "zh"])
    random = np.random.default_rng(1)
    for _ in range(20):
        ids = prompts.draw(tokens, random)
        assert ids.shape == (tokens,) and ids.dtype == np.int32
        assert 0 not in ids  # <bos>: special tokens are off


def test_prompts_are_text_of_the_corpus_and_follow_the_seed(engine_directory: Path) -> None:
    prompts = CorpusPrompts.of_engine(engine_directory, ["en"])
    first, again, other = (prompts.draw(60, np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert first.tolist() == again.tolist() != other.tolist()
    text = Tokenizer.from_file(str(engine_directory / "tokenizer.json")).decode(first.tolist())
    longest_line = max(text.split("\n"), key=len)
    assert len(longest_line) > 20 and longest_line in "\n".join(read_corpus(["en"]))


def test_a_text_is_encoded_without_special_tokens(engine_directory: Path) -> None:
    prompts = CorpusPrompts.of_engine(engine_directory, ["en"])
    tokenizer = Tokenizer.from_file(str(engine_directory / "tokenizer.json"))
    ids = prompts.encode("The quick brown fox, 3 times.")
    assert ids.dtype == np.int32 and 0 not in ids
    assert tokenizer.decode(ids.tolist()) == "The quick brown fox, 3 times."
    assert prompts.encode("").shape == (0,)
    assert prompts.vocabulary_tokens == tokenizer.get_vocab_size() > ids.max()


def test_random_ids_have_no_texts() -> None:
    with pytest.raises(WorkloadError, match="name its directory with --tokenizer, or give a dataset of input_ids"):
        UniformPrompts(10).encode("The quick brown fox")


def test_a_directory_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"tokenizer\.json: no such file"):
        CorpusPrompts.of_engine(tmp_path, ["en"])


def test_a_file_that_is_no_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(WorkloadError, match="is not a tokenizer"):
        CorpusPrompts.of_engine(tmp_path, ["en"])


def test_a_tokenizer_that_cannot_spell_the_corpus_is_refused(tmp_path: Path) -> None:
    tokenizer = Tokenizer(models.WordLevel({"<unk>": 0, "the": 1}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(WorkloadError, match="cannot encode the prompts"):
        CorpusPrompts.of_engine(tmp_path, ["en"])


@given(st.integers(1, 100_000), st.integers(1, 300), st.integers(0, 2**32))
def test_uniform_prompts_stay_in_the_vocabulary(vocabulary: int, tokens: int, seed: int) -> None:
    ids = UniformPrompts(vocabulary).draw(tokens, np.random.default_rng(seed))
    assert len(ids) == tokens and ids.dtype == np.int32
    assert ids.min() >= 0 and ids.max() < vocabulary
