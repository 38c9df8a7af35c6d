"""`python -m trtbench.engine.openvino.gguf FILE OUT` converts the demo's GGUF file to a Hugging Face checkpoint (FP16), in a process of
its own.

The weights are read by transformers. The tokenizer is not, because transformers takes the byte-level BPE of a Llama GGUF for
SentencePiece, and the result spells nearly every space as its unknown token.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from gguf import GGUFReader
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

_PRE_TOKENIZER = "smollm"  # digits one by one, then GPT-2's byte-level pattern
_CONTROL = 3  # GGUF's token type of special tokens


def convert(gguf: Path, output: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float16)
    model.save_pretrained(output)
    read_tokenizer(GGUFReader(gguf)).save_pretrained(output)


def read_tokenizer(reader: GGUFReader) -> PreTrainedTokenizerFast:
    """The tokenizer in the file; ValueError if it is not of SmolLM's kind."""
    if (kind := _field(reader, "pre")) != _PRE_TOKENIZER:
        raise ValueError(f"tokenizer.ggml.pre is {kind!r}, only {_PRE_TOKENIZER!r} is known")
    tokens = _field(reader, "tokens")
    merges = [tuple(merge.split(" ", 1)) for merge in _field(reader, "merges")]
    tokenizer = Tokenizer(models.BPE({token: number for number, token in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [token for token, kind in zip(tokens, _field(reader, "token_type"), strict=True) if kind == _CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    names = {"bos_token": "bos_token_id", "eos_token": "eos_token_id", "unk_token": "unknown_token_id", "pad_token": "padding_token_id"}
    tokenizer_class: Any = PreTrainedTokenizerFast  # untyped in transformers
    fast: PreTrainedTokenizerFast = tokenizer_class(
        tokenizer_object=tokenizer,
        chat_template=reader.fields["tokenizer.chat_template"].contents(),
        **{name: tokens[_field(reader, key)] for name, key in names.items()},
    )
    return fast


def _field(reader: GGUFReader, name: str) -> Any:
    return reader.fields[f"tokenizer.ggml.{name}"].contents()


if __name__ == "__main__":
    convert(Path(sys.argv[1]), Path(sys.argv[2]))
