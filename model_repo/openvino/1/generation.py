"""One request on its way through the engine: what was asked, its checks, and the responses it sends."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import openvino_genai as genai
import tensors
import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer

NO_END_ID = -1  # TensorRT-LLM's way to say: never stop at an end token


class RequestError(ValueError):
    """A request that the engine must not see."""


@dataclass(frozen=True)
class Limits:
    """What a request must keep to be served at all."""

    max_positions: int
    kv_blocks: int
    block_tokens: int
    vocabulary_tokens: int
    eos_token_id: int
    tokenizer: Tokenizer

    @classmethod
    def from_settings(cls, settings):
        integers = ("max_positions", "kv_blocks", "block_tokens", "vocabulary_tokens", "eos_token_id")
        tokenizer = Tokenizer.from_file(str(Path(settings["engine_dir"]) / "tokenizer.json"))
        return cls(**{name: int(settings[name]) for name in integers}, tokenizer=tokenizer)

    def check(self, input_tokens, output_tokens):
        """Refuse what can never fit, at once: it would wait in the engine for ever, or be dropped there without a word."""
        if input_tokens >= self.max_positions:
            raise RequestError(f"Prompt length ({input_tokens}) exceeds maximum input length ({self.max_positions - 1}).")
        if input_tokens + output_tokens > self.max_positions:
            total = f"Prompt length ({input_tokens}) plus output length ({output_tokens})"
            raise RequestError(f"{total} is larger than the maximum sequence length ({self.max_positions}).")
        blocks = -(-(input_tokens + output_tokens) // self.block_tokens)
        if blocks > self.kv_blocks:
            raise RequestError(f"Request does not fit the KV cache: it needs {blocks} blocks of {self.kv_blocks}.")


class Generation:
    """State of one request; made on Triton's thread, used on the engine's."""

    def __init__(self, request, sender, arrival_ns, limits):
        self._sender = sender
        inputs = tensors.inputs(request)
        self.request_id = request.request_id()
        self.input_ids = _input_ids(inputs, limits)
        self.config = _generation_config(inputs, limits)
        limits.check(len(self.input_ids), self.config.max_new_tokens)
        self.streaming = bool(_scalar(inputs, "streaming", False))
        self._prefix = [] if _scalar(inputs, "exclude_input_in_output", True) else self.input_ids.tolist()
        self._return_times = bool(_scalar(inputs, "return_perf_metrics", False))
        self._returns_input_count, self._returns_output_count = (
            bool(_scalar(inputs, f"return_num_{kind}_tokens", False)) for kind in ("input", "output")
        )
        self._held = []  # tokens of a request that does not stream
        self.arrival_ns = arrival_ns
        self.first_scheduled_ns = 0
        self.first_token_ns = 0
        self.output_tokens = 0
        self.handle = None

    def is_cancelled(self):
        return self._sender.is_cancelled()

    def send_tokens(self, token_ids, step_end_ns, final):
        """Send one step's tokens (or, when not streaming, all of them at the end)."""
        self.first_token_ns = self.first_token_ns or step_end_ns
        self.output_tokens += len(token_ids)
        if not self.streaming:
            self._held += token_ids
            if not final:
                return
            token_ids = self._held
        token_ids, self._prefix = self._prefix + token_ids, []
        output = {"output_ids": ((1, 1, len(token_ids)), token_ids), "sequence_length": ((1, 1), [len(token_ids)])}
        if self._returns_input_count:
            output["num_input_tokens"] = ((1, 1), [len(self.input_ids)])
        if self._returns_output_count:  # of this response alone, an echoed prompt among them, as the C++ backend counts
            output["num_output_tokens"] = ((1, 1), [len(token_ids)])
        flags = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL if final else 0
        tensors.send(self._sender, output, self._times(step_end_ns) if self._return_times else {}, flags)

    def send_end(self):
        """Close a stream whose last tokens have gone out already."""
        self._sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def send_cancelled(self):
        self.send_error("Request cancelled by the client.", pb_utils.TritonError.CANCELLED)

    def send_error(self, message, code):
        response = pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
        self._sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

    def _times(self, last_token_ns):
        times = {
            "arrival_time_ns": self.arrival_ns,
            "first_scheduled_time_ns": self.first_scheduled_ns,
            "first_token_time_ns": self.first_token_ns,
            "last_token_time_ns": last_token_ns,
        }
        return {name: ((1, 1), [value]) for name, value in times.items()}


def _scalar(inputs, name, default):
    return inputs[name][0] if name in inputs and len(inputs[name]) else default


def _input_ids(inputs, limits):
    if "input_ids" in inputs:
        ids = inputs["input_ids"].astype(np.int64)
        length = int(_scalar(inputs, "input_lengths", len(ids)))
        if not 1 <= length <= len(ids):
            raise RequestError(f"input_lengths ({length}) does not fit input_ids ({len(ids)} tokens).")
        ids = ids[:length]
    elif "text_input" in inputs:
        text = inputs["text_input"].tobytes().decode("utf-8", "replace")
        ids = np.array(limits.tokenizer.encode(text, add_special_tokens=False).ids, dtype=np.int64)
    else:
        raise RequestError("Give input_ids or text_input.")
    if not len(ids):
        raise RequestError("The prompt has no tokens.")
    if ids.min() < 0 or ids.max() >= limits.vocabulary_tokens:
        raise RequestError(f"input_ids must lie in 0..{limits.vocabulary_tokens - 1}.")
    return ids


def _generation_config(inputs, limits):
    config = genai.GenerationConfig()
    asked = _scalar(inputs, "request_output_len", _scalar(inputs, "max_tokens", None))
    if asked is None or asked < 1:
        raise RequestError("request_output_len (or max_tokens) of at least 1 is required.")
    config.max_new_tokens = int(asked)
    end_id = int(_scalar(inputs, "end_id", limits.eos_token_id))
    config.ignore_eos = bool(_scalar(inputs, "ignore_eos", end_id == NO_END_ID))
    if end_id != NO_END_ID:
        config.eos_token_id = end_id
        config.stop_token_ids = {end_id}
    config.min_new_tokens = int(_scalar(inputs, "min_tokens", _scalar(inputs, "min_length", 0)))  # the older name: TensorRT-LLM 0.19
    _set_sampling(config, inputs)
    try:
        config.validate()
    except RuntimeError as error:
        raise RequestError(f"The engine refuses the sampling parameters: {error}") from error
    return config


def _set_sampling(config, inputs):
    """Greedy unless a temperature above 0 is given."""
    config.repetition_penalty = float(_scalar(inputs, "repetition_penalty", 1.0))
    config.presence_penalty = float(_scalar(inputs, "presence_penalty", 0.0))
    config.frequency_penalty = float(_scalar(inputs, "frequency_penalty", 0.0))
    temperature = float(_scalar(inputs, "temperature", 0.0))
    config.do_sample = temperature > 0
    if not config.do_sample:
        return
    config.temperature = temperature
    config.top_p = float(_scalar(inputs, "runtime_top_p", 1.0))
    if top_k := int(_scalar(inputs, "runtime_top_k", 0)):
        config.top_k = top_k
    config.rng_seed = int(_scalar(inputs, "seed", _scalar(inputs, "random_seed", 0)))
