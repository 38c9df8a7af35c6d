"""Models of the fake Triton whose tensors are not the plain ones: answers in text, and prompts that come back."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from tritonclient.grpc import model_config_pb2, service_pb2

TIMES = ("arrival_time_ns", "first_scheduled_time_ns", "first_token_time_ns", "last_token_time_ns")
COUNTS = {
    "ensemble": {
        "kv_cache_reused_blocks": 3,
        "kv_cache_alloc_new_blocks": 1,
        "kv_cache_alloc_total_blocks": 2,
        "total_draft_tokens": 8,
        "total_accepted_draft_tokens": 6,
    },
    "llmapi": {
        "kv_cache_reused_block": 3,
        "kv_cache_missed_block": 1,
        "kv_cache_alloc_new_blocks": 2,
        "kv_cache_alloc_total_blocks": 2,
        "total_draft_tokens": 0,
        "total_accepted_draft_tokens": 0,
    },
}
"""What the engine counted of each request, as these tell it: integers of the C++ backend, strings of llmapi."""
MODELS = {
    "ensemble": "text, as TensorRT-LLM 1.x has it: tells its counts",
    "ensemble_0.19": "text, as 0.19 has it: random_seed, tells no counts",
    "ensemble_echo": "text, the prompt before it",
    "llmapi": "text so far in each response, times as strings, no counts; why it ended",
    "llmapi_batched": "the same with a batch dimension",
    "ids_echo": "token ids, the prompt's before them whatever is asked",
    "odd": "takes max_tokens as FP32",
}
_IDS = {"input_ids": "INT32", "input_lengths": "INT32", "request_output_len": "INT32", "end_id": "INT32", "streaming": "BOOL"}
_TEXT = {
    "text_input": "STRING",
    "max_tokens": "INT32",
    "end_id": "INT32",
    "stream": "BOOL",
    "exclude_input_in_output": "BOOL",
    "return_perf_metrics": "BOOL",
}
_COUNTS = {"return_num_input_tokens": "BOOL", "return_num_output_tokens": "BOOL", "seed": "UINT64"}
_LLMAPI = {
    "text_input": "STRING",
    "streaming": "BOOL",
    "sampling_param_max_tokens": "INT32",
    "sampling_param_seed": "UINT64",
    "sampling_param_exclude_input_from_output": "BOOL",
    "sampling_param_return_perf_metrics": "BOOL",
    "return_finish_reason": "BOOL",
}
_INPUTS: dict[str, dict[str, str]] = {
    "ensemble": _TEXT | _COUNTS,
    "ensemble_0.19": _TEXT | {"random_seed": "UINT64"},
    "ensemble_echo": _TEXT | _COUNTS,
    "llmapi": _LLMAPI,
    "llmapi_batched": _LLMAPI,
    "ids_echo": _IDS | {"exclude_input_in_output": "BOOL"},
    "odd": _TEXT | {"max_tokens": "FP32"},
}


def configure(config: Any, name: str) -> None:
    config.name, config.max_batch_size = name, 0 if name == "llmapi" else 8
    config.model_transaction_policy.decoupled = True
    for tensor, datatype in _INPUTS[name].items():
        config.input.add(name=tensor, data_type=model_config_pb2.DataType.Value(f"TYPE_{datatype}"))
    ids = name == "ids_echo"
    counts = ("num_input_tokens", "num_output_tokens") if "seed" in _INPUTS[name] else ()
    finish = ("finish_reason",) if name.startswith("llmapi") else ()
    for tensor in ("output_ids", "sequence_length") if ids else ("text_output", *TIMES, *counts, *finish, *COUNTS.get(name, ())):
        config.output.add(name=tensor)


def answers(request: Any, arrival_ns: int) -> Iterator[Any]:
    """One response a token, the last one final. The words are " w0", " w1", ...; the second token's piece is empty."""
    inputs = {tensor.name: raw for tensor, raw in zip(request.inputs, request.raw_input_contents, strict=True)}
    model = request.model_name
    if model == "ids_echo":
        yield from _ids_after_prompt(request, inputs)
        return
    prompt = inputs["text_input"][4:]
    asked = int(np.frombuffer(inputs.get("max_tokens", b"") or inputs["sampling_param_max_tokens"], np.int32)[0])
    so_far = ""
    for index in range(asked):
        piece = "" if index == 1 else f" w{index}"
        so_far += piece
        text = (so_far if model == "llmapi" else piece).encode()
        told = 1
        if model == "ensemble_echo" and index == 0:
            text, told = prompt + text, 1 + len(prompt.split())
        tensors: list[tuple[str, str, bytes]] = [("text_output", "BYTES", struct.pack("<I", len(text)) + text)]
        if "return_num_output_tokens" in inputs:
            tensors += [("num_output_tokens", "INT32", struct.pack("<i", told))]
            tensors += [("num_input_tokens", "INT32", struct.pack("<i", len(prompt.split())))]
        if "return_finish_reason" in inputs:
            reason = b"length" if index == asked - 1 else b"None"
            tensors += [("finish_reason", "BYTES", struct.pack("<I", len(reason)) + reason)]
        if index == asked - 1:
            tensors += _times(model, arrival_ns) + _counts(model)
        yield _response(request, tensors, final=index == asked - 1)


def _ids_after_prompt(request: Any, inputs: dict[str, bytes]) -> Iterator[Any]:
    asked = int(np.frombuffer(inputs["request_output_len"], np.int32)[0])
    new = np.arange(100, 100 + asked, dtype=np.int32)
    pieces = [new[:1], *np.split(new[1:], asked - 1)] if inputs["streaming"] == b"\1" else [new]
    pieces[0] = np.concatenate([np.frombuffer(inputs["input_ids"], np.int32), pieces[0]])
    for number, piece in enumerate(pieces):
        tensors = [("output_ids", "INT32", piece.tobytes()), ("sequence_length", "INT32", struct.pack("<i", len(piece)))]
        yield _response(request, tensors, final=number == len(pieces) - 1)


def _times(model: str, arrival_ns: int) -> list[tuple[str, str, bytes]]:
    values = [arrival_ns + step for step in (0, 1000, 3000, 7000)]
    if model != "llmapi":
        return [(name, "INT64", struct.pack("<q", value)) for name, value in zip(TIMES, values, strict=True)]
    return [_text(name, str(value)) for name, value in zip(TIMES, values, strict=True)]


def _counts(model: str) -> list[tuple[str, str, bytes]]:
    counts = COUNTS.get(model, {}).items()
    return [_text(name, str(value)) if model == "llmapi" else (name, "INT32", struct.pack("<i", value)) for name, value in counts]


def _text(name: str, text: str) -> tuple[str, str, bytes]:
    return name, "BYTES", struct.pack("<I", len(text)) + text.encode()


def _response(request: Any, tensors: list[tuple[str, str, bytes]], final: bool) -> Any:
    answer = service_pb2.ModelStreamInferResponse()
    infer = answer.infer_response
    infer.model_name, infer.model_version, infer.id = request.model_name, "1", request.id
    infer.parameters["triton_final_response"].bool_param = final
    asked = {output.name for output in request.outputs}
    for name, datatype, raw in tensors:
        if name in asked:
            infer.outputs.add(name=name, datatype=datatype, shape=[1, 1])
            infer.raw_output_contents.append(raw)
    return answer
