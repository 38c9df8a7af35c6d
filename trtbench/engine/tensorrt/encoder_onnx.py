"""`python -m trtbench.engine.tensorrt.encoder_onnx PLAN.json` exports an encoder in FP16 to ONNX, in a process of its own."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModel

from trtbench.engine.checkpoint_files import sentence_modules

OPSET = 19  # the first whose QuantizeLinear takes FP16
_OWN_MASK = ("mpnet",)  # model types that take no mask of four dimensions


class Embedder(torch.nn.Module):
    """The exported network: token ids and mask, int32 [batch, tokens], to `embedding`, float32 [batch, hidden], pooled and normalised
    in FP32.

    Positions count from the first token, because real tokens precede padding.
    """

    def __init__(self, model: Any, first_position: int, pooling: str, normalise: bool) -> None:
        super().__init__()
        self.model, self.pooling, self.normalise = model, pooling, normalise
        positions = torch.arange(first_position, model.config.max_position_embeddings)
        self.register_buffer("positions", positions[None], persistent=False)

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        positions = self.positions[:, : input_ids.shape[1]]  # type: ignore[index]
        tokens = self.model(input_ids=input_ids, attention_mask=self._bias(attention_mask), position_ids=positions)[0].float()
        if self.pooling == "cls":
            embedding = tokens[:, 0]
        else:
            weights = attention_mask.unsqueeze(2).float()
            embedding = (tokens * weights).sum(1) / weights.sum(1)
        return torch.nn.functional.normalize(embedding, dim=1) if self.normalise else embedding

    def _bias(self, mask: torch.Tensor) -> torch.Tensor:
        """The term that is added to the attention's scores; the exporter cannot trace the way in which transformers makes it."""
        if self.model.config.model_type in _OWN_MASK:
            return mask
        dtype = self.model.dtype
        return (1 - mask)[:, None, None, :].to(dtype) * torch.finfo(dtype).min


def load(checkpoint: Path, first_position: int) -> Embedder:
    """The checkpoint's encoder in FP32."""
    model = AutoModel.from_pretrained(checkpoint, attn_implementation="eager", dtype=torch.float32)
    return Embedder(model, first_position, *sentence_modules(checkpoint)).eval()


def write(embedder: Embedder, path: Path) -> None:
    """Write ONNX with a dynamic batch and number of tokens, in FP16 except its ends. `embedder` is in FP16 afterwards."""
    ids = torch.ones(2, 3, dtype=torch.int32)
    names = ["input_ids", "attention_mask"]
    axes = {name: {0: "batch", 1: "tokens"} for name in names} | {"embedding": {0: "batch"}}
    torch.onnx.export(
        embedder.half(),
        (ids, torch.ones_like(ids)),
        str(path),
        dynamo=False,  # the newer exporter's graph of these models does not load at this opset (torch 2.13)
        input_names=names,
        output_names=["embedding"],
        dynamic_axes=axes,
        opset_version=OPSET,
    )


def export(plan: dict[str, Any]) -> None:
    write(load(Path(plan["checkpoint"]), plan["first_position"]), Path(plan["onnx"]))


if __name__ == "__main__":
    export(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
