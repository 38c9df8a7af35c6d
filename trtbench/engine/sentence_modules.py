"""How an encoder's checkpoint makes one embedding of its tokens."""

from __future__ import annotations

import json
from pathlib import Path


def sentence_modules(checkpoint: Path) -> tuple[str, bool]:
    """(`mean` or `cls`, whether the embedding is normalised), as the checkpoint's sentence-transformers modules say; without them as
    that library does by default. ValueError for another kind of pooling."""
    if not (checkpoint / "modules.json").is_file():
        return "mean", False
    modules = json.loads((checkpoint / "modules.json").read_text(encoding="utf-8"))
    kinds = [module["type"].rpartition(".")[2] for module in modules]
    if unknown := set(kinds) - {"Transformer", "Pooling", "Normalize"}:
        raise ValueError(f"{checkpoint}/modules.json has {', '.join(sorted(unknown))}: only Transformer, Pooling and Normalize are known")
    asked = {}
    if "Pooling" in kinds:
        asked = json.loads((checkpoint / modules[kinds.index("Pooling")]["path"] / "config.json").read_text(encoding="utf-8"))
    modes = [key.removeprefix("pooling_mode_") for key, on in asked.items() if key.startswith("pooling_mode_") and on] or ["mean_tokens"]
    pooling = {"mean_tokens": "mean", "cls_token": "cls"}.get(modes[0])
    if len(modes) > 1 or pooling is None:
        raise ValueError(f"{checkpoint} pools by {', '.join(modes)}: only mean_tokens and cls_token are known")
    return pooling, "Normalize" in kinds
