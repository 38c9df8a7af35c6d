"""How many parameters a checkpoint has, from the headers of its safetensors files: no weight is read."""

from __future__ import annotations

import json
import math
from pathlib import Path

from trtbench.engine.spec import EngineError

_LENGTH_BYTES = 8
_MOST_HEADER_BYTES = 100 << 20  # the format's own bound
_NOT_PARAMETERS = ("_scale", "_scale_2", "_scale_inv", "rotary_emb.inv_freq")


def parameter_count(checkpoint: Path) -> int | None:
    """None when it has no safetensors files; EngineError when one is cut or none at all."""
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
        raise EngineError(f"{file} is no whole safetensors file: {error}") from error
