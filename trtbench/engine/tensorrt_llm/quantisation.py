"""What each dtype is called by TensorRT-LLM, and the command that makes a TensorRT-LLM checkpoint of it.

How a Hugging Face checkpoint is quantised: ModelOpt writes it into hf_quant_config.json, others into config.json.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtbench.engine.spec import EngineError
from trtbench.rundir import read_json
from trtbench.scenario.deployment.build_options import BuildOptions, Dtype

SMOOTHQUANT_ALPHA = 0.5  # TensorRT-LLM's own default
LLAMA_LIKE = {"LlamaForCausalLM", "MistralForCausalLM"}
"""Architectures of examples/models/core/llama/convert_checkpoint.py, the one converter whose flags are on record."""

_SQ_PLUGIN = "W8A8_SQ_PER_CHANNEL_PER_TOKEN_PLUGIN"
_CONVERTER = Path("models/core/llama/convert_checkpoint.py")
_QUANTIZER = Path("quantization/quantize.py")


@dataclass(frozen=True)
class Quantisation:
    """`compute`: type of what is not quantised. `algorithm`: a QuantAlgo. `qformat`: quantize.py's name of it."""

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
    """The QuantAlgo that weights and activations get."""
    return _SQ_PLUGIN if _plugin_smoothquant(dtype, options) else QUANTISATIONS[dtype].algorithm


def dtype_of(algorithm: str | None, compute: str) -> Dtype | None:
    """The other way round: what an engine's QuantAlgo is called here; None for one that trtbench does not build (INT4, NVFP4, float32)."""
    if algorithm is None:
        return {"float16": "fp16", "bfloat16": "bf16"}.get(compute)  # type: ignore[return-value]
    if algorithm.startswith("W8A8_SQ_"):
        return "int8-sq"
    return {"W8A16": "int8", "FP8": "fp8"}.get(algorithm)  # type: ignore[return-value]


def calibrates(dtype: Dtype, options: BuildOptions) -> bool:
    """Whether texts are run through the model: for activations, and for any quantised KV cache."""
    return dtype in ("int8-sq", "fp8") or options.kv_dtype != "auto"


def by_modelopt(dtype: Dtype, options: BuildOptions, architecture: str) -> bool:
    """Whether ModelOpt quantises; the alternative is the llama converter, which knows neither other models nor FP8 calibration."""
    own = dtype in ("fp16", "bf16", "int8") or _plugin_smoothquant(dtype, options)
    return not own or architecture not in LLAMA_LIKE or options.kv_dtype == "fp8"


def llm_api_quantises(dtype: Dtype, options: BuildOptions, architecture: str) -> bool:
    """Whether the LLM API can make it: it hands to ModelOpt what is ModelOpt's, the rest to the llama converter or to nobody.

    As its `_requires_modelopt_quantization` and `quantize` say: weights left alone or W8A16 get an FP8 or an INT8 KV cache there only
    where one of the two takes both.
    """
    if QUANTISATIONS[dtype].qformat in ("int8_sq", "fp8") and not _plugin_smoothquant(dtype, options):
        return True
    if options.kv_dtype == "fp8":
        return dtype in ("fp16", "bf16")
    return architecture in LLAMA_LIKE or not calibrates(dtype, options)


def checkpoint_script(dtype: Dtype, options: BuildOptions, architecture: str) -> Path:
    """Below TensorRT-LLM's examples directory."""
    return _QUANTIZER if by_modelopt(dtype, options, architecture) else _CONVERTER


def checkpoint_command(
    dtype: Dtype, options: BuildOptions, architecture: str, examples: Path, model: Path, output: Path, calibration: tuple[Path, int] | None
) -> list[str]:
    """argv that writes a TensorRT-LLM checkpoint of the Hugging Face checkpoint `model` into `output`.

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
    """`algorithm`: a QuantAlgo, None for plain weights. `dtype`: what trtbench calls it, None for one it has no name for."""

    source: str
    dtype: Dtype | None
    algorithm: str | None
    kv_dtype: str


def read_quantisation(checkpoint: Path) -> HfQuantisation:
    """EngineError when one of the two files is there and cannot be read."""
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
