"""Histograms of prompt and output lengths, as the TensorRT-LLM backend has them: one observation a request, at its end."""

from collections import deque

import metrics

_BUCKETS = [10, 50, 100, 500, 1000]
_FAMILIES = {"nv_llm_input_token_len": "total_input_tokens", "nv_llm_output_token_len": "total_output_tokens"}


class LengthHistograms:
    """Instances of one model share them; what has ended is shown at the next `publish`."""

    def __init__(self, model, version):
        self._metrics = []
        self._ended = deque()
        for name, value in _FAMILIES.items():
            family = metrics.family(name, "As the TensorRT-LLM backend exports it", "HISTOGRAM")
            labels = {"model": model, "version": version, "response_metric_type": value}
            self._metrics.append(metrics.metric(family, labels, buckets=_BUCKETS))

    def ended(self, input_tokens, output_tokens):
        self._ended.append((input_tokens, output_tokens))

    def publish(self):
        while self._ended:
            for metric, tokens in zip(self._metrics, self._ended.popleft()):  # noqa: B905
                metric.observe(tokens)
