"""Values that both a scenario's keys and options of the command line can have.

This file imports only `typing`, because every command imports it before it parses its options.
"""

from __future__ import annotations

from typing import Literal

Dtype = Literal["fp16", "bf16", "int8", "int8-sq", "fp8"]
"""int8: weights only (W8A16). int8-sq: weights and activations (SmoothQuant, W8A8)."""

ProviderName = Literal["auto", "openvino", "tensorrt_llm", "llmapi", "tensorrt", "vllm"]
"""`PROVIDERS` of engine/build.py has a provider for each except `auto`, which is the first of them that can build here."""

ServerName = Literal["triton", "vllm"]
"""`SERVERS` of serving/server/server_kinds.py has how each is started."""

BuiltKvDtype = Literal["auto", "int8", "fp8"]
"""The type of the KV cache that an engine is built for; auto: 16 bit."""

BuildRoute = Literal["auto", "llm_api", "trtllm_build"]
"""auto: the LLM API for one GPU, trtllm-build for more."""

SmoothQuant = Literal["modelopt", "plugin"]
"""int8-sq by ModelOpt, or by TensorRT-LLM's own plugins."""

ComputeMode = Literal["default", "exclusive_process"]
"""exclusive_process: one process at a time may use the GPU."""

PromptLanguage = Literal["en", "zh"]
"""Languages of the bundled corpus."""

DatasetFormat = Literal[
    "trtllm-bench",
    "sharegpt",
    "openai-batch",
    "genai-perf",
    "openai-chat",
    "aiperf-multi-turn",
    "aiperf-single-turn",
    "prompts",
]
"""Formats of files with prompts; `READERS` of plan/sources/readers.py has a reader for each, and for each TraceFormat."""

TraceFormat = Literal["azure", "burstgpt", "bailian", "mooncake"]
"""Formats of files with arrival times and lengths."""

WrittenDataset = Literal["trtllm-bench", "mooncake"]
"""Formats of datasets that are written; `DATASET_FORMATS` of plan/dataset_lines.py has each."""

ExportFormat = Literal["trtllm-bench", "aiperf", "vllm", "csv"]
"""Formats of results; `WRITERS` of export/writers.py has a writer for each."""

Language = Literal["en", "zh"]
"""Languages of reports."""

EndpointType = Literal["kserve", "openai-completions", "openai-chat", "generate"]
"""The ways in which requests are sent: each is in the `endpoints` of one entry of `CLIENTS` in client/registry.py."""

MOST_ROUNDS = 1000
"""The most rounds of a repeated load."""
