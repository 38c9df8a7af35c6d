"""Families of models that generate, with the names and types of their tensors in TensorRT-LLM 0.19 to 1.2 and in Triton's vLLM backend
(docs/families.md).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from trtbench.scenario.workload.workload import Sampling

FamilyName = Literal["ids", "text", "llmapi", "vllm"]
Role = Literal[
    "prompt",
    "prompt_tokens",
    "output_tokens",
    "end_id",
    "stream",
    "exclude_prompt",
    "temperature",
    "top_k",
    "top_p",
    "seed",
    "return_times",
    "return_input_count",
    "return_output_count",
    "return_finish",
    "sampling_parameters",
]
"""The purpose of an input. Its name differs between families and releases."""

TIME_OUTPUTS = ("arrival_time_ns", "first_scheduled_time_ns", "first_token_time_ns", "last_token_time_ns")
COUNT_OUTPUTS: Mapping[str, str] = {
    "kv_cache_reused_blocks": "kv_reused_blocks",
    "kv_cache_reused_block": "kv_reused_blocks",  # llmapi's name
    "kv_cache_missed_block": "kv_missed_blocks",  # llmapi alone
    "kv_cache_alloc_new_blocks": "kv_new_blocks",
    "kv_cache_alloc_total_blocks": "kv_allocated_blocks",
    "total_draft_tokens": "draft_tokens",
    "total_accepted_draft_tokens": "accepted_draft_tokens",
}
"""Outputs with the engine's counts of one request, and the field of `EngineCounts` that each becomes. The ratios that the engine offers too
(kv_cache_hit_rate, acceptance_rate) follow from the counts and are not requested."""
TEXT_OUTPUT, FINISH_OUTPUT = "text_output", "finish_reason"
INPUT_COUNT, OUTPUT_COUNT = "num_input_tokens", "num_output_tokens"
"""The tokens of the prompt, and those of a single response; the C++ backend includes an echoed prompt in the latter."""


@dataclass(frozen=True)
class Slot:
    """An input: its names, the newest first, and its KServe datatype."""

    names: tuple[str, ...]
    datatype: str


@dataclass(frozen=True)
class Family:
    """A family of models. The inputs of the roles in `required` and all `outputs` must exist.

    `decoupled_by` is the setting that makes the model stream, `unbatched_by` the one without which its tensors have a batch dimension that
    they must not have, or empty."""

    name: FamilyName
    inputs: Mapping[Role, Slot]
    required: tuple[Role, ...]
    outputs: tuple[str, ...]
    unbatched_by: str = ""
    decoupled_by: str = "model_transaction_policy { decoupled: true } in its config.pbtxt"

    def input_name(self, role: Role, names: Collection[str]) -> str | None:
        """The name of the input with this role in a model that has the inputs `names`; None if it has no such input."""
        slot = self.inputs.get(role)
        return next((name for name in slot.names if name in names), None) if slot else None

    def missing(self, inputs: Collection[str], outputs: Collection[str]) -> list[str]:
        """The tensors that a model lacks and that a load needs, by their newest names."""
        absent = [self.inputs[role].names[0] for role in self.required if self.input_name(role, inputs) is None]
        return sorted({*absent, *(set(self.outputs) - set(outputs))})


def _slots(**slots: tuple[str, str]) -> dict[Role, Slot]:
    return {role: Slot(tuple(names.split()), datatype) for role, (names, datatype) in slots.items()}  # type: ignore[misc]


_COMMON = _slots(
    end_id=("end_id", "INT32"),
    exclude_prompt=("exclude_input_in_output", "BOOL"),
    temperature=("temperature", "FP32"),
    seed=("seed random_seed", "UINT64"),  # renamed between 0.19 and 1.0
    return_times=("return_perf_metrics", "BOOL"),
    return_input_count=("return_num_input_tokens", "BOOL"),
    return_output_count=("return_num_output_tokens", "BOOL"),
)
FAMILIES: dict[FamilyName, Family] = {
    family.name: family
    for family in (
        Family(
            "ids",
            _slots(
                prompt=("input_ids", "INT32"),
                prompt_tokens=("input_lengths", "INT32"),
                output_tokens=("request_output_len", "INT32"),
                stream=("streaming", "BOOL"),
                top_k=("runtime_top_k", "INT32"),
                top_p=("runtime_top_p", "FP32"),
            )
            | _COMMON,
            required=("prompt", "prompt_tokens", "output_tokens"),
            outputs=("output_ids", "sequence_length"),
        ),
        Family(
            "text",
            _slots(
                prompt=("text_input", "BYTES"),
                output_tokens=("max_tokens", "INT32"),
                stream=("stream", "BOOL"),
                top_k=("top_k", "INT32"),
                top_p=("top_p", "FP32"),
            )
            | _COMMON,
            required=("prompt", "output_tokens", "stream"),
            outputs=(TEXT_OUTPUT,),
        ),
        Family(
            "llmapi",
            _slots(
                prompt=("text_input", "BYTES"),
                output_tokens=("sampling_param_max_tokens", "INT32"),
                stream=("streaming", "BOOL"),
                exclude_prompt=("sampling_param_exclude_input_from_output", "BOOL"),
                temperature=("sampling_param_temperature", "FP32"),
                top_k=("sampling_param_top_k", "INT32"),
                top_p=("sampling_param_top_p", "FP32"),
                seed=("sampling_param_seed", "UINT64"),
                return_times=("sampling_param_return_perf_metrics", "BOOL"),
                return_finish=("return_finish_reason", "BOOL"),
            ),
            required=("prompt", "output_tokens", "stream"),
            outputs=(TEXT_OUTPUT,),
            unbatched_by="triton_config: max_batch_size: 0 in its model.yaml",
            decoupled_by="triton_config: decoupled: true in its model.yaml",
        ),
        Family(
            "vllm",
            _slots(
                prompt=("text_input", "BYTES"),
                sampling_parameters=("sampling_parameters", "BYTES"),
                stream=("stream", "BOOL"),
                exclude_prompt=("exclude_input_in_output", "BOOL"),
                return_input_count=("return_num_input_tokens", "BOOL"),
                return_output_count=("return_num_output_tokens", "BOOL"),
                return_finish=("return_finish_reason", "BOOL"),
            ),
            required=("prompt", "sampling_parameters", "stream"),
            outputs=(TEXT_OUTPUT,),
            unbatched_by="max_batch_size: 0 in its config.pbtxt",
        ),
    )
}


def family_of(inputs: Collection[str]) -> Family | None:
    """The family of a model with these inputs, which is `ids` if it takes both ids and text; None if it belongs to no family."""
    if "input_ids" in inputs:
        return FAMILIES["ids"]
    if "text_input" not in inputs:
        return None
    if "sampling_parameters" in inputs:
        return FAMILIES["vllm"]
    return FAMILIES["llmapi" if any(name.startswith("sampling_param_") for name in inputs) else "text"]


def sampling_parameters(output_tokens: int, ignore_eos: bool, sampling: Sampling, seed: int) -> str:
    """The JSON in which the vLLM backend takes the length of an output and its sampling, with the names of vLLM's SamplingParams."""
    values: dict[str, object] = {"max_tokens": output_tokens, "temperature": sampling.temperature}
    if ignore_eos:
        values |= {"ignore_eos": True, "min_tokens": output_tokens}
    if sampling.temperature:
        values |= {"top_p": sampling.top_p, "seed": seed} | ({"top_k": sampling.top_k} if sampling.top_k else {})
    return json.dumps(values)
