"""Histograms of prompt and output lengths, as the TensorRT-LLM backend has them: one observation a request, at its end."""

from collections import deque

import triton_python_backend_utils as pb_utils

_BUCKETS = [10, 50, 100, 500, 1000]
_FAMILIES = {"nv_llm_input_token_len": "total_input_tokens", "nv_llm_output_token_len": "total_output_tokens"}


class LengthHistograms:
    """Instances of one model share them; what has ended is shown at the next `publish`."""

    def __init__(self, model, version):
        self._families = []  # Triton drops a family when its object goes
        self._metrics = []
        self._ended = deque()
        for name, value in _FAMILIES.items():
            family = pb_utils.MetricFamily(
                name=name, description="As the TensorRT-LLM backend exports it", kind=pb_utils.MetricFamily.HISTOGRAM
            )
            labels = {"model": model, "version": version, "response_metric_type": value}
            self._families.append(family)
            self._metrics.append(family.Metric(labels=labels, buckets=_BUCKETS))

    def ended(self, input_tokens, output_tokens):
        self._ended.append((input_tokens, output_tokens))

    def publish(self):
        while self._ended:
            for metric, tokens in zip(self._metrics, self._ended.popleft()):  # noqa: B905
                metric.observe(tokens)
