"""The names of the providers, for modules that must not load one: the schema of a scenario, and the command line before it runs.

`PROVIDERS` in engine/build.py has a provider for each of them but `auto`.
"""

from __future__ import annotations

from typing import Literal, get_args

ProviderName = Literal["auto", "openvino", "tensorrt_llm", "llmapi", "tensorrt"]
PROVIDER_NAMES: tuple[str, ...] = get_args(ProviderName)
