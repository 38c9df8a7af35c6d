"""Facts that every written run states: its machine, its client, the engines of a decoder and of an encoder."""

from __future__ import annotations

from pathlib import Path

from trtbench.engine.spec import Engine, ModelFacts
from trtbench.rundir.event_kinds import BuildStep
from trtbench.rundir.records import Environment
from trtbench.scenario.parts.choices import Dtype

S = 1_000_000_000
KV_BLOCK_TOKENS = 32
ENGINE_BYTES = {"fp16": 269_000_000, "int8": 135_000_000}
CLIENT_FACTS = {
    "transport": "wire",
    "loop": "uvloop",
    "stamps": "kernel",
    "stamps_why": "",
    "connections": 8,
    "connections_opened": 8,
    "connections_lost": 0,
    "streams_per_connection": 1,
    "stamped_reads": 20_000,
    "stamp_fallbacks": 0,
    "clock_offset_drift_ns": 900,
    "clock_steps": 0,
}


def environment(gpu: bool = False) -> Environment:
    return Environment(
        trtbench_version="0.1.0",
        started_utc="2026-11-03T08:00:00+00:00",
        anchor_monotonic_ns=S,
        anchor_wall_ns=1_793_692_800 * S,
        hostname_sha256="0" * 64,
        platform="Linux-6.1.0-x86_64",
        python="3.11.2",
        cpu_model="Example CPU @ 2.60GHz",
        cpu_count=2,
        memory_bytes=16 * 2**30,
        gpus=[{"index": 0, "name": "NVIDIA H100 80GB HBM3", "memory_bytes": 80 * 2**30}] if gpu else [],
        nvml="driver 550.54.14" if gpu else "no NVIDIA driver (libnvidia-ml.so.1 is not there)",
        packages={"nvidia-pytriton": "0.7.0", "openvino-genai": "2026.4.1"},
        variables={},
    )


def decoder_engine(path: Path, dtype: str, model: str) -> Engine:
    precision: Dtype = "fp16" if dtype == "fp16" else "int8"
    return Engine(
        path=path,
        model=model,
        dtype=precision,
        provider="openvino",
        provider_versions={"openvino-genai": "2026.4.1"},
        model_facts=ModelFacts(layers=30, kv_heads=3, head_dim=64, max_positions=8192, vocabulary_tokens=49152, eos_token_id=2),
        weights_dtype=dtype,
        kv_block_tokens=KV_BLOCK_TOKENS,
        checkpoint_sha256="c" * 64,
        options={},
        sha256=("f" if dtype == "fp16" else "8") * 64,
        size_bytes=ENGINE_BYTES[dtype],
        build_steps=(BuildStep("export", 20.5), BuildStep("compress", 4.5)),
        built_utc="2026-11-03T07:59:00+00:00",
    )


def encoder_engine(path: Path) -> Engine:
    return Engine(
        path=path,
        model="minilm-l6-v2",
        dtype="fp16",
        provider="openvino",
        provider_versions={},
        model_facts=ModelFacts.of_encoder(layers=6, head_dim=32, max_positions=512, vocabulary_tokens=30522, embedding_values=384),
        weights_dtype="fp16",
        kv_block_tokens=0,
        checkpoint_sha256="c" * 64,
        options={},
        sha256="f" * 64,
        size_bytes=45_000_000,
        build_steps=(BuildStep("export", 20.0),),
        built_utc="2026-11-03T07:59:00+00:00",
    )
