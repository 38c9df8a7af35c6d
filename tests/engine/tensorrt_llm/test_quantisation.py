from __future__ import annotations

import json
from pathlib import Path

import pytest

from trtbench.engine.spec import EngineError
from trtbench.engine.tensorrt_llm.quantisation import (
    FOLDER,
    TEXT_CHARACTERS,
    misread_as,
    own_texts,
    read_texts,
    texts_sha256,
    write_texts,
)
from trtbench.scenario.deployment.build_options import BuildOptions


def test_our_own_texts_are_long_and_all_different() -> None:
    texts = own_texts()
    assert len(texts) > 100
    assert len(set(texts)) == len(texts)
    assert all(len(text) == TEXT_CHARACTERS for text in texts)
    assert any("\u4e00" <= char <= "\u9fff" for text in texts for char in text)


def test_both_loaders_of_tensorrt_llm_find_their_split_and_their_column(tmp_path: Path) -> None:
    """ModelOpt's: a directory, split train, column text. The converters': by a known name in the path, which gives split and column."""
    folder = write_texts(["one", "two\n二"], tmp_path)
    assert folder.name == FOLDER
    assert "lambada" in str(folder)  # (no configuration, split validation, column text) in their table
    assert misread_as(Path(FOLDER)) is None
    for split in ("train", "validation"):
        lines = (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        assert [json.loads(line) for line in lines] == [{"text": "one"}, {"text": "two\n二"}]


def test_the_datasets_library_reads_it_as_they_do(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    folder = str(write_texts(own_texts()[:8], tmp_path))
    assert datasets.load_dataset(folder, split="train", cache_dir=str(tmp_path / "c"))["text"][:8] == own_texts()[:8]
    assert len(datasets.load_dataset(folder, name=None, split="validation", cache_dir=str(tmp_path / "c"))["text"]) == 8


def test_ones_own_texts(tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text('{"text": "a", "id": 1}\n{"text": "b"}\n')
    assert read_texts(BuildOptions(calibration_dir=tmp_path)) == ["a", "b"]
    assert read_texts(BuildOptions(calibration_dir=tmp_path, calibration_samples=1)) == ["a"]
    with pytest.raises(EngineError, match=r"calibration_samples = 3: .* has 2 texts"):
        read_texts(BuildOptions(calibration_dir=tmp_path, calibration_samples=3))
    assert read_texts(BuildOptions()) == own_texts()


@pytest.mark.parametrize("text", ['{"txt": "a"}', "not json", '{"text": 3}', '{"text": " "}', "[]", "3"])
def test_a_file_of_another_form_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "train.jsonl").write_text(text + "\n")
    with pytest.raises(EngineError, match=r"build\.calibration_dir: .*train\.jsonl needs a line"):
        read_texts(BuildOptions(calibration_dir=tmp_path))
    with pytest.raises(EngineError, match=r"build\.calibration_dir"):
        read_texts(BuildOptions(calibration_dir=tmp_path / "nowhere"))
    (tmp_path / "train.jsonl").write_text("")
    with pytest.raises(EngineError, match="has 0 texts"):
        read_texts(BuildOptions(calibration_dir=tmp_path))


def test_a_path_by_which_the_set_would_be_taken_for_another() -> None:
    assert misread_as(Path("/tmp/cnn_dailymail/x")) == "cnn_dailymail"
    assert misread_as(Path("/tmp/ScienceQA/x")) == "scienceqa"


def test_the_hash_is_of_texts_and_their_bounds() -> None:
    assert texts_sha256(["ab", "c"]) != texts_sha256(["a", "bc"])
