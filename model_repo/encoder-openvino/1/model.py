"""Triton Python model: an encoder of the BERT family on OpenVINO. Token ids in, one embedding out.

Runs inside the server, where the trtbench package is not imported. All that Triton's batcher puts into one batch is padded to its
longest and computed by one inference.
"""

import json

import numpy as np
import tensors
import triton_python_backend_utils as pb_utils
from encoder import Encoder, RequestError
from token_counters import TokenCounters


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self._encoder = Encoder({key: entry["string_value"] for key, entry in config["parameters"].items()})
        self._counters = TokenCounters(args["model_name"], args["model_version"])
        self._sent = []

    def execute(self, requests):
        """One response a request, in their order."""
        answers = [None] * len(requests)
        rows = {}  # position -> its sequences
        for position, request in enumerate(requests):
            if request.is_cancelled():
                answers[position] = _error("Request cancelled by the client.", pb_utils.TritonError.CANCELLED)
                continue
            try:
                rows[position] = self._encoder.sequences(tensors.shaped_input(request, "input_ids"))
            except RequestError as error:
                answers[position] = _error(str(error), pb_utils.TritonError.INVALID_ARG)
        self._sent = []  # what the stub reads after `execute` has returned must live until the next call
        if rows:
            self._answer(rows, answers)
        return answers

    def _answer(self, rows, answers):
        batch = [sequence for sequences in rows.values() for sequence in sequences]
        try:
            embeddings = self._encoder.embed(batch)
        except (RuntimeError, MemoryError) as error:
            for position in rows:
                answers[position] = _error(f"Engine inference failed: {error}", pb_utils.TritonError.INTERNAL)
            return
        self._counters.count([len(sequence) for sequence in batch])
        taken = 0
        for position, sequences in rows.items():
            exported = tensors.Floats(np.ascontiguousarray(embeddings[taken : taken + len(sequences)]))
            taken += len(sequences)
            self._sent.append(exported)
            answers[position] = pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack("embedding", exported)])


def _error(message, code):
    return pb_utils.InferenceResponse(error=pb_utils.TritonError(message, code))
