"""A model as the stand-in server loads it: config.pbtxt, the engine's config.json, model.yaml.

A configuration without a parameter that NVIDIA's code needs is refused, and an engine that is not whole.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from tests.on_gpu.fake_requirements import lacking


@dataclass
class Served:
    """A model that is loaded: its configuration, its version, and of an engine its limits and KV blocks."""

    config: Any
    version: str
    engine: dict[str, Any]

    @property
    def parameters(self) -> dict[str, str]:
        return {key: value.string_value for key, value in self.config.parameters.items()}

    @property
    def limits(self) -> dict[str, Any]:
        return self.engine.get("build_config") or {}

    @property
    def block_tokens(self) -> int:
        return int(self.limits.get("plugin_config", {}).get("tokens_per_block", 32))

    @property
    def kv_blocks(self) -> int:
        return int(self.parameters.get("max_tokens_in_paged_kv_cache", "131072")) // self.block_tokens

    @property
    def longest_prompt(self) -> int:
        positions = int(self.limits["max_seq_len"]) - 1
        return positions if self.parameters.get("enable_chunked_context") == "true" else min(positions, int(self.limits["max_num_tokens"]))


class LoadError(RuntimeError):
    """The model does not load; the text is the log's and the repository API's."""


def load(directory: Path) -> Served:
    config = text_format.Parse((directory / "config.pbtxt").read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    if reason := lacking(config):
        raise LoadError(f"Internal: {reason}")
    version = max((path.name for path in directory.iterdir() if path.name.isdecimal()), key=int)
    if (llm := directory / version / "model.yaml").is_file():
        asked = yaml.safe_load(llm.read_text(encoding="utf-8"))["triton_config"]
        config.max_batch_size, config.model_transaction_policy.decoupled = asked["max_batch_size"], asked["decoupled"]
    if config.platform == "ensemble":  # one around a streaming model is shown so by the real Triton
        config.model_transaction_policy.decoupled = True
    path = config.parameters["gpt_model_path"].string_value if "gpt_model_path" in config.parameters else ""
    engine = json.loads((Path(path) / "config.json").read_text(encoding="utf-8")) if path else {}
    rank = Path(path) / "rank0.engine"
    if engine and rank.stat().st_size != engine.get("fake_rank_bytes", rank.stat().st_size):
        raise LoadError(f"Internal: unexpected error when creating modelInstanceState: [TensorRT-LLM][ERROR] {rank} cannot be deserialized")
    return Served(config, version, engine)
