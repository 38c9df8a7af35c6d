"""Directories that look like TensorRT-LLM's: an engine's config.json, NVIDIA's model templates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from trtbench.engine.spec import Engine, ModelFacts

FACTS = ModelFacts(layers=32, kv_heads=8, head_dim=128, max_positions=8192, vocabulary_tokens=128256, eos_token_id=2)


def write_engine(path: Path, version: str = "1.2.1", kv: str | None = None, tp: int = 1, **build: Any) -> Engine:
    """`build`: values of build_config over defaults; `plugins` those of plugin_config."""
    plugins = {"use_paged_context_fmha": True, "tokens_per_block": 32, **build.pop("plugins", {})}
    limits = {"max_batch_size": 64, "max_num_tokens": 8192, "max_seq_len": 4096, "max_beam_width": 1, "weight_streaming": False, **build}
    model = {"dtype": "float16", "quantization": {"quant_algo": None, "kv_cache_quant_algo": kv}}
    model["mapping"] = {"world_size": tp, "tp_size": tp, "pp_size": 1}
    path.mkdir(parents=True, exist_ok=True)
    config = {"version": version, "pretrained_config": model, "build_config": {**limits, "plugin_config": plugins}}
    (path / "config.json").write_text(json.dumps(config))
    return engine_of(path, "tensorrt_llm", version)


def engine_of(path: Path, provider: str, version: str, **options: Any) -> Engine:
    path.mkdir(parents=True, exist_ok=True)
    engine = Engine(
        path=path,
        model="llama",
        dtype="fp16",
        provider=provider,
        provider_versions={"tensorrt_llm": version},
        model_facts=FACTS,
        weights_dtype="fp16",
        kv_block_tokens=32,
        checkpoint_sha256="",
        options=options,
        sha256="",
        size_bytes=0,
        build_steps=(),
        built_utc="",
    )
    engine.save()
    return engine


def write_templates(root: Path, code: str = "# NVIDIA's\n") -> Path:
    """The directories where NVIDIA's Python models lie in a container; `code` in place of theirs."""
    for model in ("preprocessing", "postprocessing", "tensorrt_llm_bls", "tensorrt_llm"):
        (root / model / "1").mkdir(parents=True)
        (root / model / "1" / "model.py").write_text(code)
    return root
