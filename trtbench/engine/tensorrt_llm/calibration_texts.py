"""Texts to calibrate INT8 and FP8 on, in the one form that all of TensorRT-LLM's loaders read without a network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from trtbench.engine.spec import EngineError
from trtbench.scenario.deployment.build_options import BuildOptions
from trtbench.system import packaged_data

TEXT_CHARACTERS = 2000  # about the 512 tokens that TensorRT-LLM cuts a text to
FOLDER = "lambada-form"
"""ModelOpt's loader takes any directory with a train split and a text column. That of TensorRT-LLM's converters knows data sets
by a part of their path: "lambada" is the one that means validation split, text column, no configuration."""

_MISREAD = ("cnn_dailymail", "scienceqa", "science_qa", "pileval")
_DEFAULT_SAMPLES = 512


def own_texts() -> list[str]:
    """Texts of the bundled corpus: at each of its paragraphs one begins, and goes on to about 512 tokens. They overlap."""
    texts = []
    for path in sorted(packaged_data.CORPUS.glob("*.txt")):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
        for start in range(len(lines)):
            texts.append("\n".join(lines[start:] + lines[:start])[:TEXT_CHARACTERS])
    return texts


def write_texts(texts: list[str], directory: Path) -> Path:
    """The data set `directory`/lambada-form: the same texts as both splits."""
    folder = directory / FOLDER
    folder.mkdir(parents=True)
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    for split in ("train", "validation"):
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def read_texts(options: BuildOptions) -> list[str]:
    """Those of `calibration_dir`, or our own, cut to `calibration_samples`; EngineError when there are none or not so many."""
    texts = _read(options.calibration_dir / "train.jsonl") if options.calibration_dir else own_texts()
    wanted = options.calibration_samples or min(len(texts), _DEFAULT_SAMPLES)
    if len(texts) < max(wanted, 1):
        where = options.calibration_dir or "trtbench's own data set"
        raise EngineError(f"build.calibration_samples = {wanted}: {where} has {len(texts)} texts; ask for fewer, or give more")
    return texts[:wanted]


def texts_sha256(texts: list[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def misread_as(path: Path) -> str | None:
    """The part of a path by which TensorRT-LLM takes the data set for a known one and goes to the network for it."""
    return next((name for name in _MISREAD if name in str(path).lower()), None)


def _read(path: Path) -> list[str]:
    texts = []
    try:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            text = json.loads(line)["text"]
            if not isinstance(text, str) or not text.strip():
                raise ValueError(f"line {number} has no text")
            texts.append(text)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise EngineError(f'build.calibration_dir: {path} needs a line {{"text": "..."}} a sample ({error!r})') from error
    return texts
