"""A checkpoint of 1.7 million random weights, made on the spot: no hub, no torch, the same bytes wherever it is made."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

POSITIONS, VOCABULARY, HIDDEN, INNER, LAYERS, HEADS, KV_HEADS = 2048, 1024, 256, 512, 2, 4, 2
"""Heads of 64 and multiples of 64: shapes that TensorRT-LLM's kernels take, the INT8 ones too."""

SPECIAL = ("<unk>", "<s>", "</s>")
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "torch_dtype": "float16",
    "vocab_size": VOCABULARY,
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV_HEADS,
    "head_dim": HIDDEN // HEADS,
    "max_position_embeddings": POSITIONS,
    "rope_theta": 10000.0,
    "rms_norm_eps": 1e-6,
    "hidden_act": "silu",
    "attention_bias": False,
    "mlp_bias": False,
    "tie_word_embeddings": False,
    "bos_token_id": SPECIAL.index("<s>"),
    "eos_token_id": SPECIAL.index("</s>"),
}
TOKENIZER_CONFIG = {"tokenizer_class": "PreTrainedTokenizerFast", "unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}


def write_checkpoint(directory: Path) -> Path:
    """A Hugging Face directory of a Llama that says nothing sensible, at the speed of one that does."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "config.json").write_text(json.dumps(CONFIG, indent=1))
    (directory / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIG))
    _tokenizer().save(str(directory / "tokenizer.json"))
    _write_weights(directory / "model.safetensors")
    return directory


def _tokenizer() -> Tokenizer:
    """Bytes as tokens: it spells every text."""
    words = [*SPECIAL, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    made = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(words)}, merges=[], unk_token="<unk>"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    return made


def _shapes() -> Iterator[tuple[str, tuple[int, ...]]]:
    yield from (
        ("model.embed_tokens.weight", (VOCABULARY, HIDDEN)),
        ("lm_head.weight", (VOCABULARY, HIDDEN)),
        ("model.norm.weight", (HIDDEN,)),
    )
    kv = KV_HEADS * HIDDEN // HEADS
    for layer in range(LAYERS):
        block = f"model.layers.{layer}"
        for name, rows in (("q", HIDDEN), ("k", kv), ("v", kv), ("o", HIDDEN)):
            yield f"{block}.self_attn.{name}_proj.weight", (rows, HIDDEN)
        for name, shape in (("gate", (INNER, HIDDEN)), ("up", (INNER, HIDDEN)), ("down", (HIDDEN, INNER))):
            yield f"{block}.mlp.{name}_proj.weight", shape
        for name in ("input_layernorm", "post_attention_layernorm"):
            yield f"{block}.{name}.weight", (HIDDEN,)


def _write_weights(path: Path) -> None:
    """Format: 8 bytes of length, a JSON header, the tensors' bytes in its order."""
    random, header, chunks, at = np.random.default_rng(1), {"__metadata__": {"format": "pt"}}, [], 0
    for name, shape in _shapes():
        values = np.ones(shape) if len(shape) == 1 else random.normal(0, 0.02, shape)
        chunks.append(values.astype("<f2").tobytes())
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [at, at := at + len(chunks[-1])]}  # type: ignore[dict-item]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(chunks))
