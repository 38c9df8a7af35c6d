"""Facts of a checkpoint that need no weights: its number of parameters, and how an encoder pools its tokens."""

from __future__ import annotations

import json
import math
from pathlib import Path

from trtbench.engine.spec import EngineError

_LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 100 << 20  # the format's own bound
_NOT_PARAMETERS = ("_scale", "_scale_2", "_scale_inv", "rotary_emb.inv_freq")


def parameter_count(checkpoint: Path) -> int | None:
    """The number of parameters, or None without safetensors files; EngineError if one of the files is truncated or invalid."""
    files = sorted(checkpoint.glob("*.safetensors"))
    return sum(_parameters(file) for file in files) if files else None


def _parameters(file: Path) -> int:
    try:
        with file.open("rb") as stream:
            length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
            if length > _MOST_HEADER_BYTES:
                raise ValueError(f"a header of {length} bytes")
            header = json.loads(stream.read(length))
        tensors = {name: tensor for name, tensor in header.items() if name != "__metadata__"}
        end = max((tensor["data_offsets"][1] for tensor in tensors.values()), default=0)
        if (there := file.stat().st_size - _LENGTH_BYTES - length) < end:
            raise ValueError(f"{end - there} bytes are missing at its end: copy or download it again")
        return sum(math.prod(tensor["shape"]) for name, tensor in tensors.items() if not name.endswith(_NOT_PARAMETERS))
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise EngineError(f"{file} is not a complete safetensors file: {error}") from error


def sentence_modules(checkpoint: Path) -> tuple[str, bool]:
    """(`mean` or `cls`, whether the embedding is normalised), according to the checkpoint's sentence-transformers modules. Without
    modules the values are that library's defaults. ValueError for another kind of pooling.
    """
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
