"""Triton Python model: OpenVINO GenAI's continuous batching behind the tensors of TensorRT-LLM's `tensorrt_llm` model.

Runs inside the server, where the trtbench package is not imported. Triton's batcher hands requests to `execute`, which checks
and queues them; one thread (inflight.py) owns the engine and streams every step's tokens the moment they exist.
"""

import json
import time

import triton_python_backend_utils as pb_utils
from gauges import Gauges
from generation import Generation, Limits, RequestError
from inflight import InflightBatcher
from lengths import LengthHistograms
from steps import NoStepCounters, StepCounters

BACKENDS_OWN = "gpt_model_type"
"""A parameter that every configuration of TensorRT-LLM's C++ backend has."""
BACKENDS_INTERVAL_MS = 100


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        settings = {key: entry["string_value"] for key, entry in config["parameters"].items()}
        instances = sum(group["count"] for group in config["instance_group"])
        self._limits = Limits.from_settings(settings)
        model = args["model_name"], args["model_version"]
        if BACKENDS_OWN in settings:  # served in its place: what it does not tell is not told
            interval_ms = int(settings.get("stats_check_period_ms") or BACKENDS_INTERVAL_MS)
            gauges, steps = Gauges(*model, instances, interval_ms), NoStepCounters()
        else:
            gauges, steps = Gauges(*model, instances), StepCounters(*model)
        self._batcher = InflightBatcher(settings, gauges, steps, LengthHistograms(*model), rests=BACKENDS_OWN not in settings)

    def execute(self, requests):
        arrival_ns = time.monotonic_ns()
        for request in requests:
            sender = request.get_response_sender()
            try:
                generation = Generation(request, sender, arrival_ns, self._limits)
            except RequestError as error:
                response = pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))
                sender.send(response, flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
            else:
                self._batcher.submit(generation)

    def finalize(self):
        self._batcher.close()
