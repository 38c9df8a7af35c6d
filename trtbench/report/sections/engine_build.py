"""What an engine was built for, in one cell: only engines of TensorRT-LLM have such things."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from trtbench.report.kit.format import NONE, whole
from trtbench.report.kit.words import Words


def build_text(engine: Mapping[str, Any], words: Words) -> str | None:
    """From engine.json; None when it says nothing of it."""
    options = engine.get("options") or {}
    parts = []
    if options.get("backend") == "pytorch":
        parts.append(words("target.build_pytorch", quant=options.get("quant_algo") or engine.get("weights_dtype") or NONE))
    if limits := options.get("limits"):
        parts.append(_limits(engine, options, limits, words))
    if (options.get("asked") or {}).get("dummy_weights"):
        parts.append(words("target.build_dummy"))
    if path := options.get("adopted_from"):
        parts.append(words("target.build_adopted", path=path))
    if path := options.get("claimed_from"):
        parts.append(words("target.build_claimed", path=path))
    return "; ".join(parts) or None


def _limits(engine: Mapping[str, Any], options: Mapping[str, Any], limits: Mapping[str, int | None], words: Words) -> str:
    def limit(name: str) -> str:
        return words("target.build_default") if limits.get(name) is None else whole(limits[name])

    paged = options.get("paged_context_fmha")
    return words(
        "target.build_limits",
        batch=limit("max_batch_size"),
        sequence=limit("max_seq_len"),
        tokens=limit("max_num_tokens"),
        tp=options.get("tp", NONE),
        pp=options.get("pp", NONE),
        kv=engine.get("kv_dtype", NONE),
        block=engine.get("kv_block_tokens", NONE),
        paged=words("target.build_paged" if paged else "target.build_not_paged"),
    )
