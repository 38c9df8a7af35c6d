"""TensorRT-LLM's name of each dtype, the command that writes a TensorRT-LLM checkpoint of it, and the texts that calibrate it.

`read_quantisation` reads how a Hugging Face checkpoint is quantised: ModelOpt writes it into hf_quant_config.json, other tools into
config.json.
"""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtbench.engine.spec import EngineError
from trtbench.rundir.lines import read_json
from trtbench.scenario.deployment.build_options import BuildOptions
from trtbench.scenario.parts.choices import Dtype
from trtbench.system import packaged_data

SMOOTHQUANT_ALPHA = 0.5  # TensorRT-LLM's own default
LLAMA_LIKE = {"LlamaForCausalLM", "MistralForCausalLM"}
"""Architectures of examples/models/core/llama/convert_checkpoint.py, the only converter whose flags are recorded."""

_SQ_PLUGIN = "W8A8_SQ_PER_CHANNEL_PER_TOKEN_PLUGIN"
_CONVERTER = Path("models/core/llama/convert_checkpoint.py")
_QUANTIZER = Path("quantization/quantize.py")


@dataclass(frozen=True)
class Quantisation:
    """A quantisation. `compute`: the type of everything that is not quantised. `algorithm`: a QuantAlgo. `qformat`: quantize.py's name
    of it.
    """

    compute: str
    algorithm: str | None
    qformat: str


QUANTISATIONS: dict[Dtype, Quantisation] = {
    "fp16": Quantisation("float16", None, "full_prec"),
    "bf16": Quantisation("bfloat16", None, "full_prec"),
    "int8": Quantisation("float16", "W8A16", "int8_wo"),
    "int8-sq": Quantisation("float16", "W8A8_SQ_PER_CHANNEL", "int8_sq"),
    "fp8": Quantisation("auto", "FP8", "fp8"),
}


def algorithm(dtype: Dtype, options: BuildOptions) -> str | None:
    """The QuantAlgo of weights and activations."""
    return _SQ_PLUGIN if _plugin_smoothquant(dtype, options) else QUANTISATIONS[dtype].algorithm


def dtype_of(algorithm: str | None, compute: str) -> Dtype | None:
    """The dtype of an engine's QuantAlgo; None for one that trtbench does not build (INT4, NVFP4, float32)."""
    if algorithm is None:
        return {"float16": "fp16", "bfloat16": "bf16"}.get(compute)  # type: ignore[return-value]
    if algorithm.startswith("W8A8_SQ_"):
        return "int8-sq"
    return {"W8A16": "int8", "FP8": "fp8"}.get(algorithm)  # type: ignore[return-value]


def calibrates(dtype: Dtype, options: BuildOptions) -> bool:
    """Whether texts are run through the model, which is needed for activations and for any quantised KV cache."""
    return dtype in ("int8-sq", "fp8") or options.kv_dtype != "auto"


def by_modelopt(dtype: Dtype, options: BuildOptions, architecture: str) -> bool:
    """Whether ModelOpt quantises. The alternative is the llama converter, which supports neither other models nor FP8 calibration."""
    own = dtype in ("fp16", "bf16", "int8") or _plugin_smoothquant(dtype, options)
    return not own or architecture not in LLAMA_LIKE or options.kv_dtype == "fp8"


def llm_api_quantises(dtype: Dtype, options: BuildOptions, architecture: str) -> bool:
    """Whether the LLM API can make it. The LLM API passes ModelOpt's algorithms to ModelOpt, and others to the llama converter or to
    nothing.

    According to its `_requires_modelopt_quantization` and `quantize`, weights that are not quantised or W8A16 get an FP8 or an INT8 KV
    cache there only if one of the two supports both.
    """
    if QUANTISATIONS[dtype].qformat in ("int8_sq", "fp8") and not _plugin_smoothquant(dtype, options):
        return True
    if options.kv_dtype == "fp8":
        return dtype in ("fp16", "bf16")
    return architecture in LLAMA_LIKE or not calibrates(dtype, options)


def checkpoint_script(dtype: Dtype, options: BuildOptions, architecture: str) -> Path:
    """The path of the script below TensorRT-LLM's examples directory."""
    return _QUANTIZER if by_modelopt(dtype, options, architecture) else _CONVERTER


def checkpoint_command(
    dtype: Dtype, options: BuildOptions, architecture: str, examples: Path, model: Path, output: Path, calibration: tuple[Path, int] | None
) -> list[str]:
    """The argv that writes a TensorRT-LLM checkpoint of the Hugging Face checkpoint `model` into `output`.

    `calibration`: its directory and the number of its texts.
    """
    how = QUANTISATIONS[dtype]
    start = [sys.executable, str(examples / checkpoint_script(dtype, options, architecture))]
    places = ["--model_dir", str(model), "--output_dir", str(output), "--dtype", how.compute]
    ranks = ["--tp_size", str(options.tp), "--pp_size", str(options.pp)]
    texts = ["--calib_dataset", str(calibration[0]), "--calib_size", str(calibration[1])] if calibration else []
    if by_modelopt(dtype, options, architecture):
        kv = [] if options.kv_dtype == "auto" else ["--kv_cache_dtype", options.kv_dtype]
        return [*start, *places, "--qformat", how.qformat, *kv, *ranks, *texts]
    flags = []
    if dtype == "int8":
        flags += ["--use_weight_only", "--weight_only_precision", "int8"]
    if dtype == "int8-sq":
        flags += ["--smoothquant", str(SMOOTHQUANT_ALPHA), "--per_channel", "--per_token"]
    if options.kv_dtype == "int8":
        flags += ["--int8_kv_cache"]
    if options.dummy_weights:
        flags += ["--save_config_only"]
    workers = ["--workers", str(options.workers or options.ranks)]
    return [*start, *places, *flags, *ranks, *workers, *texts]


def _plugin_smoothquant(dtype: Dtype, options: BuildOptions) -> bool:
    return dtype == "int8-sq" and options.smoothquant == "plugin"


_TORCH = {"float16": "fp16", "bfloat16": "bf16", "float32": "fp32"}
_METHODS = {"fp8": "FP8_BLOCK_SCALES"}  # DeepSeek's and Qwen's own FP8: quant_method with block sizes, no quant_algo


@dataclass(frozen=True)
class HfQuantisation:
    """The quantisation of a checkpoint. `algorithm`: a QuantAlgo, None for plain weights. `dtype`: trtbench's name of it, None if it
    has none.
    """

    source: str
    dtype: Dtype | None
    algorithm: str | None
    kv_dtype: str


def read_quantisation(checkpoint: Path) -> HfQuantisation:
    """The quantisation of a checkpoint; EngineError if one of the two files exists and cannot be read."""
    config = _read(checkpoint / "config.json")
    compute = str(config.get("torch_dtype") or config.get("dtype") or "float16").removeprefix("torch.")
    if (path := checkpoint / "hf_quant_config.json").is_file():
        quantisation, source = _read(path).get("quantization") or {}, path.name
    else:
        quantisation, source = config.get("quantization_config") or {}, "config.json"
        quantisation = quantisation.get("quantization") or quantisation  # ModelOpt's form of it is nested
    algorithm = quantisation.get("quant_algo") or _of_method(quantisation)
    kv = quantisation.get("kv_cache_quant_algo")
    dtype = dtype_of(algorithm, compute) if isinstance(algorithm, str | None) else None
    return HfQuantisation(source, dtype, algorithm, str(kv).lower() if kv else _TORCH.get(compute, compute))


def _of_method(quantisation: dict[str, Any]) -> str | None:
    method = quantisation.get("quant_method")
    return _METHODS.get(str(method), str(method).upper()) if method else None


def _read(path: Path) -> dict[str, Any]:
    try:
        found = read_json(path)
        if not isinstance(found, dict):
            raise ValueError("no JSON object")
        return found
    except (OSError, ValueError) as error:
        raise EngineError(f"{path} cannot be read: {error}") from error


TEXT_CHARACTERS = 2000  # about the 512 tokens that TensorRT-LLM cuts a text to
FOLDER = "lambada-form"
"""The path of the data set. ModelOpt's loader takes any directory with a train split and a text column. TensorRT-LLM's converters
recognise data sets by a part of their path: "lambada" is the one that means validation split, text column, no configuration.
"""

_MISREAD = ("cnn_dailymail", "scienceqa", "science_qa", "pileval")
_DEFAULT_SAMPLES = 512


def own_texts() -> list[str]:
    """Texts of the bundled corpus: one from the start of each paragraph, of about 512 tokens. They overlap."""
    texts = []
    for path in sorted(packaged_data.CORPUS.glob("*.txt")):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
        for start in range(len(lines)):
            texts.append("\n".join(lines[start:] + lines[:start])[:TEXT_CHARACTERS])
    return texts


def write_texts(texts: list[str], directory: Path) -> Path:
    """Write the data set `directory`/lambada-form, with the same texts as both splits."""
    folder = directory / FOLDER
    folder.mkdir(parents=True)
    lines = "".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts)
    for split in ("train", "validation"):
        (folder / f"{split}.jsonl").write_text(lines, encoding="utf-8")
    return folder


def read_texts(options: BuildOptions) -> list[str]:
    """The first `calibration_samples` texts of `calibration_dir` or of the bundled corpus; EngineError if there are fewer."""
    texts = _read_texts(options.calibration_dir / "train.jsonl") if options.calibration_dir else own_texts()
    wanted = options.calibration_samples or min(len(texts), _DEFAULT_SAMPLES)
    if len(texts) < max(wanted, 1):
        where = options.calibration_dir or "trtbench's own data set"
        raise EngineError(f"build.calibration_samples = {wanted}: {where} has {len(texts)} texts; ask for fewer, or give more")
    return texts[:wanted]


def texts_sha256(texts: list[str]) -> str:
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()


def misread_as(path: Path) -> str | None:
    """The part of a path by which TensorRT-LLM would take the data set for a known one and download it."""
    return next((name for name in _MISREAD if name in str(path).lower()), None)


def _read_texts(path: Path) -> list[str]:
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
