"""What NVIDIA's backend and Python models do not load without, by the recorded contract."""

from __future__ import annotations

from typing import Any

from tests.contracts.contract import missing_parameter, required_parameters

LINE = "1.2"
"""The release that the stand-ins are of."""


def lacking(config: Any) -> str | None:
    """What is said of the first required parameter that `config` has not; None when it has them all."""
    backend = config.backend == "tensorrtllm"
    model = "tensorrt_llm" if backend else config.name
    if model == "tensorrt_llm" and not backend:  # the LLM API's model of this name reads model.yaml
        return None
    for name in required_parameters(LINE).get(model, ()):
        if name not in config.parameters:
            return missing_parameter(model, name)
    return None
