"""The compiled engine of one model instance: sequences of token ids of any lengths to their embeddings, in one inference."""

from pathlib import Path

import numpy as np
import openvino as ov
from processor import PROPERTIES


class RequestError(ValueError):
    """A request that the engine must not see."""


class Encoder:
    def __init__(self, settings):
        properties = PROPERTIES | {"INFERENCE_NUM_THREADS": int(settings["inference_threads"]), "PERFORMANCE_HINT": "LATENCY"}
        model = ov.Core().compile_model(Path(settings["engine_dir"]) / "openvino_model.xml", "CPU", properties)
        self._names = {name for found in model.inputs for name in found.names}
        self._request = model.create_infer_request()
        self._max_positions = int(settings["max_positions"])
        self._vocabulary_tokens = int(settings["vocabulary_tokens"])

    def sequences(self, ids):
        """The sequences of one request, `ids` of shape [sequences, tokens]; RequestError."""
        if ids.ndim != 2 or not ids.size:
            raise RequestError(f"input_ids must be [sequences, tokens], not {list(ids.shape)}.")
        if ids.shape[1] > self._max_positions:
            raise RequestError(f"Prompt length ({ids.shape[1]}) exceeds maximum input length ({self._max_positions}).")
        if ids.min() < 0 or ids.max() >= self._vocabulary_tokens:
            raise RequestError(f"input_ids must lie in 0..{self._vocabulary_tokens - 1}.")
        return list(ids)

    def embed(self, sequences):
        """float32 of shape [sequences, values]; what pads the shorter ones is masked, so it changes nothing."""
        shape = (len(sequences), max(map(len, sequences)))
        ids, mask = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = sequence
            mask[row, : len(sequence)] = 1
        inputs = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros(shape, np.int64)}
        self._request.infer({name: value for name, value in inputs.items() if name in self._names})
        return self._request.get_output_tensor(0).data.copy()
