"""Small encoders of random weights, as Hugging Face checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

WORDS = 97
_SHAPE = {"num_hidden_layers": 2, "num_attention_heads": 2, "hidden_size": 32, "intermediate_size": 64}
_DISTILBERT = {"n_layers": 2, "n_heads": 2, "dim": 32, "hidden_dim": 64}


def write_encoder(path: Path, model_type: str = "bert", positions: int = 40) -> Path:
    """It has `positions` positions that hold a token."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import AutoConfig, AutoModel

    torch.manual_seed(7)
    offset = 2 if model_type in ("roberta", "xlm-roberta", "camembert", "mpnet") else 0
    shape: dict[str, Any] = _DISTILBERT if model_type == "distilbert" else dict(_SHAPE)
    if model_type == "electra":
        shape |= {"embedding_size": 16}
    config = AutoConfig.for_model(model_type, vocab_size=WORDS + 3, max_position_embeddings=positions + offset, **shape)
    AutoModel.from_config(config).save_pretrained(path)
    vocabulary = {f"w{n}": n for n in range(WORDS)} | {"[CLS]": WORDS, "[SEP]": WORDS + 1, "[UNK]": WORDS + 2}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # type: ignore[assignment]
    tokenizer.save(str(path / "tokenizer.json"))
    return path
