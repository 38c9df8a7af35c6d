"""How a Hugging Face checkpoint is quantised: ModelOpt writes it into hf_quant_config.json, others into config.json."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from trtbench.engine.spec import EngineError
from trtbench.engine.tensorrt_llm.quantisation import dtype_of
from trtbench.rundir import read_json
from trtbench.scenario.deployment.build_options import Dtype

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
