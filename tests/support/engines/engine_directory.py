"""TensorRT-LLM engine directories with the keys that real ones have, and rank files of holes. Of the model in conftest.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LIMITS = {"max_batch_size": 2048, "max_input_len": 1024, "max_seq_len": 512, "max_num_tokens": 8192}


def of_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """`write_engine`'s model and rank_bytes for the Hugging Face checkpoint there; empty when it is not there."""
    if not (checkpoint / "config.json").is_file():
        return {}
    config = json.loads((checkpoint / "config.json").read_text())
    heads = config["num_attention_heads"]
    names = ("hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "vocab_size", "max_position_embeddings")
    model = {name: config[name] for name in names} | {"head_size": config["hidden_size"] // heads}
    weights_bytes = sum(path.stat().st_size for path in checkpoint.glob("*.safetensors"))
    return {"model": model, "rank_bytes": max(4096, weights_bytes)}


def write_engine(
    directory: Path,
    *,
    version: str = "1.2.1",
    algorithm: str | None = None,
    kv_algorithm: str | None = None,
    compute: str = "float16",
    tp: int = 1,
    pp: int = 1,
    limits: dict[str, Any] | None = None,
    kv_block_tokens: int = 32,
    paged_context_fmha: bool = True,
    rank_bytes: int = 4096,
    model: dict[str, Any] | None = None,
) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    config = {
        "version": version,
        "fake_rank_bytes": rank_bytes,
        "pretrained_config": {
            "architecture": "LlamaForCausalLM",
            "dtype": compute,
            "hidden_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_size": 16,
            "vocab_size": 1000,
            "max_position_embeddings": 512,
            "mapping": {"world_size": tp * pp, "tp_size": tp, "pp_size": pp, "gpus_per_node": 8},
            "quantization": {"quant_algo": algorithm, "kv_cache_quant_algo": kv_algorithm, "group_size": 128, "exclude_modules": None},
            **(model or {}),
        },
        "build_config": {
            **LIMITS,
            **(limits or {}),
            "max_beam_width": 1,
            "kv_cache_type": "PAGED",
            "use_strip_plan": False,
            "plugin_config": {
                "gemm_plugin": "auto",
                "tokens_per_block": kv_block_tokens,
                "use_paged_context_fmha": paged_context_fmha,
                "lora_plugin": None,
                "multiple_profiles": False,
            },
        },
    }
    (directory / "config.json").write_text(json.dumps(config))
    for rank in range(tp * pp):
        with (directory / f"rank{rank}.engine").open("wb") as file:
            file.truncate(rank_bytes)
    return directory
