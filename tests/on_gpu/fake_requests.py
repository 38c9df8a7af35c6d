"""Requests and answers of TensorRT-LLM's models, as the stand-in server reads and writes them."""

from __future__ import annotations

from typing import Any

import numpy as np


def lengths(request: Any) -> tuple[int, int]:
    """(prompt, asked) tokens; a text counts as its words."""
    inputs = {tensor.name: raw for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)}
    asked = next(inputs[name] for name in ("request_output_len", "max_tokens", "sampling_param_max_tokens") if name in inputs)
    prompt = len(inputs["input_ids"]) // 4 if "input_ids" in inputs else len(inputs["text_input"][4:].split())
    return prompt, int(np.frombuffer(asked, np.int32)[0])


def ask_for(request: Any, tokens: int) -> None:
    for index, tensor in enumerate(request.inputs):
        if tensor.name == "request_output_len":
            request.raw_input_contents[index] = np.array([tokens], np.int32).tobytes()


def too_long(number: int, prompt: int, longest: int) -> str:
    return (
        f"Executor failed process requestId {number} due to the following error: Encountered an error when fetching new request: "
        f"Prompt length ({prompt}) exceeds maximum input length ({longest}). Set log level to info and check TRTGptModel logs"
    )


def tokens_of(answer: Any) -> int:
    names = [output.name for output in answer.infer_response.outputs]
    if "sequence_length" in names:
        return int(np.frombuffer(answer.infer_response.raw_output_contents[names.index("sequence_length")], np.int32)[0])
    return 1 if "text_output" in names else 0
