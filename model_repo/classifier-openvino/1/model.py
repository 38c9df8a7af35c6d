"""Triton Python model: an image classifier on OpenVINO. Pictures in, logits out; one inference for a whole batch.

Runs inside the server, where the trtbench package is not imported.
"""

import json
from pathlib import Path

import numpy as np
import openvino as ov
import tensors
import triton_python_backend_utils as pb_utils
from processor import PROPERTIES


class TritonPythonModel:
    def initialize(self, args):
        settings = {key: entry["string_value"] for key, entry in json.loads(args["model_config"])["parameters"].items()}
        properties = PROPERTIES | {"INFERENCE_NUM_THREADS": int(settings["inference_threads"]), "PERFORMANCE_HINT": "LATENCY"}
        model = ov.Core().compile_model(Path(settings["engine_dir"]) / "openvino_model.xml", "CPU", properties)
        self._request = model.create_infer_request()
        self._sent = []

    def execute(self, requests):
        """One response a request, in their order."""
        pictures = [np.from_dlpack(pb_utils.get_input_tensor_by_name(request, "pixel_values")) for request in requests]
        self._sent = []  # what the stub reads after `execute` has returned must live until the next call
        try:
            self._request.infer({0: np.concatenate(pictures)})
        except (RuntimeError, MemoryError) as error:
            failed = pb_utils.TritonError(f"Engine inference failed: {error}", pb_utils.TritonError.INTERNAL)
            return [pb_utils.InferenceResponse(error=failed) for _ in requests]
        logits = self._request.get_output_tensor(0).data.copy()
        ends = np.cumsum([len(one) for one in pictures])
        return [self._answer(part) for part in np.split(logits, ends[:-1])]

    def _answer(self, logits):
        exported = tensors.Floats(np.ascontiguousarray(logits))
        self._sent.append(exported)
        return pb_utils.InferenceResponse([pb_utils.Tensor.from_dlpack("logits", exported)])
